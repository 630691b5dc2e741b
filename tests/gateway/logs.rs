//! What the log says: why a request was refused, and, of a whole walk at its most talkative, no secret and no address.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use linkgate::clock::Clock;
use linkgate::secret::random_token;
use serde_json::Value;

use crate::harness::{Visitor, configuration, eventually, with_routes};
use crate::recorder::Recorder;
use crate::stand_in::{
    ADA, AUTHENTICATE, CLIENT_SECRET, CODE, HOST, JWT, LOGOUT, REFRESH_TOKEN, SEND, SESSION, StandIn, before,
};

/// The real program with what it wrote.
struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    fn start(configuration: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_linkgate"))
            .args(["run", "--config"])
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (reader, written) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&lines));
        std::thread::spawn(move || {
            reader.lines().map_while(Result::ok).for_each(|line| written.lock().unwrap().push(line));
        });
        Self { child, lines }
    }

    fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Where the gateway says that it listens.
    async fn address(&self) -> SocketAddr {
        let found = || {
            let started = self.log().into_iter().find(|line| line.contains("linkgate is running"))?;
            serde_json::from_str::<Value>(&started).unwrap()["listen"].as_str()?.parse().ok()
        };
        eventually(async || found().is_some()).await;
        found().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_however_much_is_logged() {
    let stand_in = StandIn::with_clock(Clock::system(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let recorder = Recorder::start().await;
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.toml", random_token().expose()));
    let text = before(stand_in.address(), &configuration(recorder.address));
    std::fs::write(&file, text + "[log]\nlevel = \"trace\"\nformat = \"json\"\n").unwrap();
    let program = Program::start(&file);
    let address = program.address().await;
    std::fs::remove_file(&file).unwrap();

    let mut visitor = Visitor { host: HOST.to_owned(), ..Visitor::new(address) };
    let csrf = visitor.open("/.linkgate/sign-in?return_to=%2Fwanted%3Fquery%3Dprivate").await.field("csrf");
    visitor.ask_for_link(ADA, "/wanted?query=private").await;
    eventually(async || stand_in.count(SEND) == 1).await;
    let send = stand_in.calls_to(SEND)[0].json();
    let state = send["state"].as_str().unwrap().to_owned();
    let callback = format!("/.linkgate/callback?code={CODE}&state={state}");
    let browser = visitor.jar["__Host-linkgate-browser"].clone();
    // Refusals and failures of all kinds talk the most.
    stand_in.refuse(AUTHENTICATE, 503, &format!("{ADA} {CODE}"));
    visitor.open(&callback).await;
    visitor.clone().calling_itself("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0").open(&callback).await;
    Visitor { host: HOST.to_owned(), ..Visitor::new(address) }.open(&callback).await;
    stand_in.recover(AUTHENTICATE);
    let landed = visitor.open(&callback).await;
    assert_eq!(landed.location(), "/wanted?query=private");
    let session = visitor.session_cookie();
    assert_eq!(visitor.open("/wanted?query=private").await.status, StatusCode::OK);
    visitor.open(&callback).await;
    let sign_out = visitor.open("/.linkgate/sign-out").await.field("csrf");
    stand_in.refuse(LOGOUT, 403, &format!("{ADA} {SESSION}"));
    visitor.post("/.linkgate/sign-out", &[("csrf", &sign_out)]).await;
    stand_in.refuse(SEND, 404, &format!("User not found: {ADA}"));
    visitor.ask_for_link("bob@example.com", "/").await;
    eventually(async || stand_in.count(SEND) == 2 && stand_in.count(LOGOUT) == 1).await;
    visitor.open("/.linkgate/callback?code=a%00b&state=b").await;
    let has = |words: &str| program.log().iter().any(|line| line.contains(words));
    for said in ["signed in", "signed out", "failed to end a session at Mosaic", "a link was asked for and not sent"] {
        eventually(async || has(said)).await;
    }

    let log = program.log();
    assert!(log.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log:#?}");
    let log = log.join("\n");
    for secret in [
        ADA,
        "ada%40",
        "bob@example.com",
        CODE,
        &state,
        SESSION,
        REFRESH_TOKEN,
        CLIENT_SECRET,
        "the-token-of-the-client",
        JWT,
        &session,
        &browser,
        &csrf,
        &sign_out,
        "private",
    ] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_which_rule_refused_a_request_and_why() {
    let recorder = Recorder::start().await;
    let rules = "[[route]]\npath = '/kept'\nupstream = UPSTREAM\n\
                 deny = [{ networks = ['192.0.2.0/24'] }, { networks = ['127.0.0.0/8'] }]\n\
                 [[route]]\npath = '/tried'\naccess = 'public'\nmode = 'observe'\nupstream = UPSTREAM\n\
                 deny = { networks = ['127.0.0.0/8'] }\n";
    let text = with_routes(&configuration(recorder.address), rules) + "[log]\nformat = \"json\"\n";
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.toml", random_token().expose()));
    std::fs::write(&file, text).unwrap();
    let program = Program::start(&file);
    let mut visitor = Visitor::new(program.address().await);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(visitor.open("/kept/secret?query=private").await.status, 403);
    assert_eq!(visitor.open("/tried").await.status, 200);

    let lines = || -> Vec<Value> { program.log().iter().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let of_rules = || lines().into_iter().filter(|line| line["reason"] == "denied").collect::<Vec<_>>();
    eventually(async || of_rules().len() == 4).await;
    let mut found: Vec<_> = of_rules()
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (text("message"), text("route"), line["rule"].as_u64(), text("verdict"))
        })
        .collect();
    found.sort();
    let line = |message: &str, route: &str, rule, verdict: &str| {
        (message.to_owned(), format!("localhost/{route}"), Some(rule), verdict.to_owned())
    };
    let expected = [
        line("let pass what a rule would refuse", "tried", 0, ""),
        line("refused a request by a rule", "kept", 1, ""),
        line("request", "kept", 1, "no_access"),
        line("request", "tried", 0, "forwarded"),
    ];
    assert_eq!(found, expected);
}
