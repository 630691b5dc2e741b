//! `linkgate login`, and real curl and git with the tokens that come of it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use linkgate::secret::random_token;
use tokio::net::TcpListener;

use super::{Home, Process, Program, replaced};
use crate::harness::{Visitor, configuration, free_port, with_routes};
use crate::personal_tokens::make_token;
use crate::recorder::Recorder;
use crate::stand_in::ADA;

const BEARER: &str = "[[route]]\nupstream = UPSTREAM\nbearer = true\n";
const DEVICE: &str = "/.linkgate/device";

/// Runs a program of the system to its end, on a thread of its own.
async fn output_of(mut command: Command, input: Vec<u8>) -> Output {
    let run = move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("script/setup installs it");
        // Who reads no input may have left already.
        child.stdin.take().unwrap().write_all(&input).ok();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The code that the terminal shows.
async fn code_of(terminal: &Process) -> String {
    let line = terminal.text_line("type the code ").await;
    line.rsplit(' ').next().unwrap().to_owned()
}

async fn decide(visitor: &mut Visitor, code: &str, decision: &str) {
    let csrf = visitor.open(DEVICE).await.field("csrf");
    let page = visitor.post(DEVICE, &[("csrf", &csrf), ("code", code), ("decision", decision)]).await;
    assert_eq!(page.status, StatusCode::OK);
}

/// A gateway that other programs reach by its public URL.
async fn start(upstream: SocketAddr) -> (Home, Program) {
    let host = format!("localhost:{}", free_port());
    let text = with_routes(&configuration(upstream), BEARER);
    let (_, port) = host.split_once(':').unwrap();
    let listen = format!("public_url = \"http://{host}\"\nlisten = \"127.0.0.1:{port}\"");
    let usual = "public_url = \"http://localhost:8080\"\nlisten = \"127.0.0.1:0\"";
    let home = Home::with(&replaced(&text, &[(usual, &listen)]));
    let program = Program { host, ..home.start().await };
    (home, program)
}

/// The root of the site as curl and git reach it.
fn root(program: &Program) -> String {
    format!("http://{}", program.host)
}

#[tokio::test]
async fn a_terminal_signs_in_and_curl_is_let_through_with_what_it_prints() {
    let recorder = Recorder::start().await;
    let (home, program) = start(recorder.address).await;
    let mut ada = program.signed_in(ADA).await;
    let root = root(&program);
    let terminal = home.spawn(&["login", &root, "--name", "shell", "--for", "7d"]);
    decide(&mut ada, &code_of(&terminal).await, "allow").await;
    let ended = terminal.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let token = ended.stdout.strip_suffix('\n').unwrap();
    assert!(token.starts_with("lgp_") && !token.contains(char::is_whitespace), "the token alone: {token:?}");
    assert!(!ended.stderr.contains(token) && ended.stderr.contains("curl -H"), "{}", ended.stderr);

    for arguments in
        [vec!["-H".to_owned(), format!("Authorization: Bearer {token}")], vec!["-u".to_owned(), format!("me:{token}")]]
    {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]).args(arguments).arg(format!("{root}/x"));
        let output = output_of(curl, Vec::new()).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200");
        assert_eq!(recorder.last().values("x-forwarded-email"), [ADA]);
    }
}

#[tokio::test]
async fn a_terminal_that_is_turned_down_says_so_and_prints_nothing() {
    let recorder = Recorder::start().await;
    let (home, program) = start(recorder.address).await;
    let mut ada = program.signed_in(ADA).await;
    let terminal = home.spawn(&["login", &root(&program)]);
    decide(&mut ada, &code_of(&terminal).await, "deny").await;
    let ended = terminal.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("error: the request was turned down\n"), "{}", ended.stderr);

    let ended = home.run(&["login", "http://app.example.com"]).await;
    assert_eq!(ended.code, Some(2), "not in the clear");
    let ended = home.run(&["login", &root(&program), "--for", "365d"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("error: a token may be good for 129600 minutes at most"), "{}", ended.stderr);
    let ended = home.run(&["login", &format!("http://{}", recorder.address)]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("something else than a linkgate would"), "{}", ended.stderr);
}

/// `git http-backend` over HTTP: a bridge to CGI (RFC 3875), as far as git needs it.
async fn git_server(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(run_backend).with_state(folder.to_owned());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn run_backend(
    State(folder): State<PathBuf>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let field = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let mut backend = Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", field("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", field("content-encoding"))
        .env("GIT_PROTOCOL", field("git-protocol"))
        // Whoever is signed in may push; this is how the backend knows it.
        .env("REMOTE_USER", field("x-forwarded-email"));
    let output = output_of(backend, body.to_vec()).await.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("the backend answers");
    let mut answer = output[end + 4..].to_vec().into_response();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            *answer.status_mut() = value[..3].parse().unwrap();
        } else {
            answer.headers_mut().insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
    }
    answer
}

/// Runs git without anybody's settings, and without asking anybody.
async fn git(folder: &Path, arguments: &[&str]) -> Output {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(folder).env("HOME", folder).env("GIT_TERMINAL_PROMPT", "0");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_ASKPASS", "true");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), ADA);
    }
    output_of(git, Vec::new()).await
}

async fn git_well(folder: &Path, arguments: &[&str]) {
    let output = git(folder, arguments).await;
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn git_clones_and_pushes_with_a_token_as_password() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(random_token().expose());
    std::fs::create_dir(&folder).unwrap();
    git_well(&folder, &["init", "-q", "--bare", "-b", "main", "notes.git"]).await;
    let server = git_server(&folder).await;
    let (_home, program) = start(server).await;
    let token = make_token(&mut program.signed_in(ADA).await).await;
    let url = |user: &str| root(&program).replace("http://", &format!("http://{user}")) + "/notes.git";

    let refused = git(&folder, &["clone", "-q", &url(""), "stranger"]).await;
    assert!(!refused.status.success(), "nobody clones without a token");
    git_well(&folder, &["clone", "-q", &url(&format!("ada:{token}@")), "clone"]).await;
    let clone = folder.join("clone");
    git_well(&clone, &["checkout", "-q", "-B", "main"]).await;
    std::fs::write(clone.join("note"), "hello").unwrap();
    git_well(&clone, &["add", "note"]).await;
    git_well(&clone, &["commit", "-q", "-m", "Say hello"]).await;
    git_well(&clone, &["push", "-q", "origin", "main"]).await;
    let header = format!("http.extraHeader=Authorization: Bearer {token}");
    git_well(&folder, &["-c", &header, "clone", "-q", &url(""), "again"]).await;
    assert_eq!(std::fs::read_to_string(folder.join("again/note")).unwrap(), "hello");
    std::fs::remove_dir_all(&folder).unwrap();
}
