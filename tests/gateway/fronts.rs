//! Other proxies that forward requests themselves and ask the gateway about them: the real ones, with what
//! `linkgate snippet` prints and nothing changed in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use http::{Method, StatusCode};
use tokio::net::TcpStream;

use crate::harness::{Answer, HOST, Visitor, eventually, free_port};
use crate::program::{Home, Process, Program, replaced};
use crate::python::python_with;
use crate::recorder::{Recorded, Recorder};
use crate::wire::Wire;

/// A proxy of another make.
#[derive(Clone, Copy, Debug)]
struct Front {
    name: &'static str,
    /// The program, and how it is started in the folder with its files: as one process, which leaves no other behind.
    command: &'static [&'static str],
    /// Whether the program comes from PyPI.
    from_pypi: bool,
    /// What a distribution has around the printed files.
    around: Option<&'static str>,
    /// What it prints, by the names of the files.
    files: &'static [&'static str],
}

/// In a command: the folder with the files.
const FOLDER: &str = "FOLDER";

const NGINX: Front = Front {
    name: "nginx",
    command: &["nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", "master_process off;"],
    from_pypi: false,
    around: Some("nginx.conf"),
    files: &["linkgate.conf"],
};
const CADDY: Front = Front {
    name: "caddy",
    command: &["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
    from_pypi: false,
    around: None,
    files: &["Caddyfile"],
};
const HAPROXY: Front = Front {
    name: "haproxy",
    command: &["haproxy", "-db", "-f", "haproxy.cfg"],
    from_pypi: false,
    around: None,
    files: &["haproxy.cfg", "linkgate.lua"],
};
const APACHE: Front = Front {
    name: "apache",
    command: &["apache2", "-d", FOLDER, "-f", "apache2.conf", "-X"],
    from_pypi: false,
    around: Some("apache2.conf"),
    files: &["linkgate.conf", "linkgate.lua"],
};
const TRAEFIK: Front = Front {
    name: "traefik",
    command: &["traefik", "--configFile=traefik.yml"],
    from_pypi: true,
    around: None,
    files: &["traefik.yml", "linkgate.yml"],
};
const ENVOY: Front = Front {
    name: "envoy",
    command: &["python", "-m", "envoy._main", "-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1"],
    from_pypi: true,
    around: None,
    files: &["envoy.yaml"],
};
const ALL: [Front; 6] = [NGINX, CADDY, HAPROXY, APACHE, TRAEFIK, ENVOY];

/// A rule of the story's own, beside the example's.
const NEAR: &str =
    "\n[[route]]\npath = \"/near\"\nupstream = \"front-proxy\"\nallow = { networks = [\"192.0.2.0/24\"] }\n";

impl Front {
    fn example(self, file: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.name).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    async fn program(self) -> PathBuf {
        if !self.from_pypi {
            return PathBuf::from(self.command[0]);
        }
        let requirements = format!("examples/{}/requirements.txt", self.name);
        let python = tokio::task::spawn_blocking(move || python_with(self.name, &requirements)).await.unwrap();
        python.with_file_name(self.command[0])
    }

    async fn spawn(self, home: &Home) -> Process {
        let mut command = Command::new(self.program().await);
        // Debian keeps servers where only root looks.
        let path = format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let folder = home.path().display().to_string();
        command.args(self.command[1..].iter().map(|word| if *word == FOLDER { &folder } else { *word }));
        // Who is told the folder is not started in it.
        command.current_dir(if self.command.contains(&FOLDER) { Path::new("/") } else { home.path() });
        command.stdin(Stdio::null());
        command.env("PATH", path).env("HOME", home.path()).env("XDG_DATA_HOME", home.path());
        Process::spawn(command)
    }
}

/// A front proxy before a gateway and an application that records.
struct Fronted {
    address: SocketAddr,
    program: Program,
    recorder: Recorder,
    front: Process,
    _home: Home,
}

impl Fronted {
    async fn start(front: Front) -> Self {
        let recorder = Recorder::start().await;
        let parts = [
            ("listen = \"127.0.0.1:8081\"", "listen = \"127.0.0.1:0\""),
            ("listen = \"127.0.0.1:9180\"", "listen = \"127.0.0.1:0\""),
        ];
        let home = Home::with(&(replaced(&front.example("gateway.toml"), &parts) + NEAR));
        let program = home.start().await;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let [gateway, upstream, listen] = [program.address, recorder.address, address].map(|place| place.to_string());
        let snippet = ["snippet", front.name, "--directory", ".", "--gateway", &gateway];
        let printed = home.run(&[&snippet[..], &["--upstream", &upstream, "--listen", &listen]].concat()).await;
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
        if let Some(around) = front.around {
            home.write(around, &front.example(around));
        }
        let mut front = front.spawn(&home).await;
        eventually(async || {
            assert!(!front.has_left(), "{:#?}", front.log());
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        let fronted = Self { address, program, recorder, front, _home: home };
        // Some listen before they know where to.
        let mut anybody = fronted.visitor().program();
        eventually(async || anybody.open("/.linkgate/session").await.status == StatusCode::UNAUTHORIZED).await;
        fronted
    }

    /// Somebody with an empty cookie jar.
    fn visitor(&self) -> Visitor {
        Visitor::new(self.address)
    }

    async fn signed_in(&self, address: &str) -> Visitor {
        let mut visitor = self.program.signed_in(address).await;
        visitor.address = self.address;
        visitor
    }

    /// Asks for `path` with further fields; gives the answer, and the request where the application got one.
    async fn ask(&self, visitor: &Visitor, path: &str, fields: &[(&str, &str)]) -> (Answer, Option<Recorded>) {
        let before = self.recorder.requests().len();
        let answer = visitor.program().send(Method::GET, path, fields, "").await;
        (answer, self.recorder.requests().into_iter().nth(before))
    }
}

/// What the application was told, without the name of the request.
fn told(request: &Recorded) -> Vec<String> {
    let mut lines: Vec<String> = request.head.lines().map(str::to_ascii_lowercase).collect();
    lines.retain(|line| !line.starts_with("x-request-id:"));
    lines.sort();
    lines
}

const IDENTITY: [&str; 5] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "x-forwarded-roles",
];

/// What a visitor says to be somebody else, to have asked for something else, or to come from elsewhere.
const FORGED: &[&[(&str, &str)]] = &[
    &[("X-Forwarded-User", "ada"), ("X-Forwarded-Email", "ada@example.com")],
    &[("X-FORWARDED-EMAIL", "ada@example.com"), ("x-forwarded-email", "ada@example.com")],
    &[("X_Forwarded_User", "ada"), ("x_forwarded_email", "ada@example.com"), ("X-Forwarded_Email", "ada@example.com")],
    &[("X.Forwarded.Email", "ada@example.com"), ("X-Forwarded.User", "ada")],
    &[("X-Forwarded-Groups", "ops"), ("X-Forwarded-Roles", "admin"), ("X-Forwarded-Preferred-Username", "ada")],
    &[("X-Forwarded-Email", "ada@example.com"), ("Connection", "X-Forwarded-Email")],
    &[("X-Auth-Request-User", "ada"), ("X-Auth-Request-Email", "ada@example.com"), ("x_auth_request_user", "ada")],
    &[("Remote-User", "ada@example.com"), ("remote_user", "ada@example.com"), ("Remote-Groups", "ops")],
    &[("X-Linkgate-Assertion", "e30.e30."), ("X-Linkgate-Cookie", "linkgate=other"), ("x_linkgate_assertion", "e30")],
    &[("X-Forwarded-Uri", "/static"), ("X-Forwarded-Method", "OPTIONS")],
    &[("X-Original-Url", "http://localhost:8080/static"), ("X-Original-Uri", "/static"), ("X-Original-Method", "GET")],
    &[("X-Rewrite-Url", "/static"), ("Proxy", "http://evil.example")],
    &[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "1")],
    &[("X-Forwarded-Prefix", "/evil"), ("X-Forwarded-Server", "evil"), ("X-Forwarded-Ssl", "on")],
    &[("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "192.0.2.8")],
    &[("x_forwarded_for", "192.0.2.7"), ("X-Real-Ip", "192.0.2.7"), ("Forwarded", "for=192.0.2.7;host=evil.example")],
];

async fn visitors_sign_in_and_come_back(front: Front) {
    let fronted = Fronted::start(front).await;
    let mut ada = fronted.visitor();
    let led = ada.open("/page?x=1&y=%2F").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER, "{led:?}");
    let sign_in = "/.linkgate/sign-in?return_to=%2Fpage%3Fx%3D1%26y%3D%252F";
    assert_eq!(led.location(), format!("http://{HOST}{sign_in}"));
    let (refused, nothing) = fronted.ask(&ada, "/page", &[]).await;
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("sign_in_required"))
    );
    assert!(!refused.header("www-authenticate").is_empty(), "{refused:?}");
    let posted = ada.post("/page", &[("a", "b")]).await;
    assert_eq!(posted.status, StatusCode::UNAUTHORIZED, "{posted:?}");
    assert_eq!((nothing, fronted.recorder.requests().len()), (None, 0));

    ada.ask_for_link("ada@example.com", "/page?x=1&y=%2F").await;
    let mail = fronted.program.mail("ada@example.com").await;
    let callback = ada.press(mail["link"].as_str().unwrap()).await;
    let landed = ada.open(&callback).await;
    assert!(landed.gives_session(), "{landed:?}");
    ada.jar.insert("theme".to_owned(), "dark".to_owned());
    let page = ada.open("/page?x=1&y=%2F").await;
    assert_eq!((page.status, page.body.as_str()), (StatusCode::OK, "hello"));
    let got = fronted.recorder.only();
    assert_eq!(got.line(), "GET /page?x=1&y=%2F HTTP/1.1");
    assert_eq!(got.values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!((got.values("x-forwarded-host"), got.values("host")), (vec![HOST], vec![HOST]));
    assert_eq!((got.values("x-forwarded-for"), got.values("x-forwarded-proto")), (vec!["127.0.0.1"], vec!["http"]));
    assert_eq!(got.values("cookie"), ["theme=dark"], "the gateway's cookie stays with it");

    let body = "x".repeat(100_000);
    let posted = ada.send(Method::POST, "/form", &[("content-type", "text/plain")], &body).await;
    assert_eq!(posted.status, StatusCode::OK, "{posted:?}");
    let got = fronted.recorder.last();
    assert_eq!((got.line(), got.body.len()), ("POST /form HTTP/1.1", body.len()));
    assert_eq!(got.values("x-forwarded-email"), ["ada@example.com"]);

    let old = ada.clone();
    let page = ada.open("/.linkgate/sign-out").await;
    ada.post("/.linkgate/sign-out", &[("csrf", &page.field("csrf"))]).await;
    let (refused, nothing) = fronted.ask(&old, "/page", &[]).await;
    assert_eq!((refused.status, nothing), (StatusCode::UNAUTHORIZED, None), "her old cookie opens nothing any more");
}

async fn nothing_forged_gets_through(front: Front) {
    let fronted = Fronted::start(front).await;
    let bob = fronted.signed_in("bob@example.com").await;
    let nobody = fronted.visitor();
    let (_, plain) = fronted.ask(&bob, "/page", &[]).await;
    let plain = plain.expect("bob may see the page");
    assert_eq!(plain.values("x-forwarded-email"), ["bob@example.com"]);
    let (_, public) = fronted.ask(&nobody, "/static/x.css", &[]).await;
    let public = public.expect("everybody may see what is public");
    let named = public.names().into_iter().find(|name| IDENTITY.contains(&name.as_str()));
    assert_eq!(named, None, "nobody is nobody: {public:?}");

    for &forged in FORGED {
        let (answer, got) = fronted.ask(&bob, "/page", forged).await;
        // A proxy may also refuse what nobody sends who means well.
        if answer.status != StatusCode::BAD_REQUEST {
            assert_eq!(answer.status, StatusCode::OK, "{forged:?}");
            assert_eq!(told(&got.unwrap()), told(&plain), "{forged:?}");
            let (_, got) = fronted.ask(&nobody, "/static/x.css", forged).await;
            assert_eq!(told(&got.unwrap()), told(&public), "{forged:?}");
        }
        for (visitor, path, status) in [(&nobody, "/page", 401), (&bob, "/admin", 403), (&bob, "/near", 403)] {
            let (answer, got) = fronted.ask(visitor, path, forged).await;
            assert!([status, 400].contains(&answer.status.as_u16()), "{path} {forged:?}: {answer:?}");
            assert_eq!(got, None, "{path} {forged:?}");
        }
    }
    let odd = ["/static/../admin", "/static/%2e%2e/admin", "/static/..%2fadmin", "//admin", "/%61dmin", "/./admin"];
    for path in odd {
        let (answer, got) = fronted.ask(&bob, path, &[]).await;
        assert!(answer.status.is_client_error() && got.is_none(), "{path}: {answer:?} {got:?}");
    }
    for path in ["/.linkgate/auth", "/.linkgate/auth?verdict=1", "/.linkgate/auth/static", "/.linkgate/%61uth/page"] {
        let (answer, got) = fronted.ask(&bob, path, &[("X-Forwarded-Uri", "/page")]).await;
        assert_eq!((answer.status.is_client_error(), got), (true, None), "{path}: {answer:?}");
        assert!(!answer.headers.contains_key("x-forwarded-email"), "{path}: {answer:?}");
    }
}

async fn tunnels_open_for_the_signed_in_and_nothing_passes_without_the_gateway(front: Front) {
    let fronted = Fronted::start(front).await;
    let ada = fronted.signed_in("ada@example.com").await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    fronted.recorder.answer_with(switch);
    for (cookie, origin, opens) in [
        (ada.session_cookie(), format!("http://{HOST}"), true),
        (ada.session_cookie(), "http://evil.example".to_owned(), false),
        (String::new(), format!("http://{HOST}"), false),
    ] {
        let before = fronted.recorder.requests().len();
        let mut wire = Wire::connect(fronted.address).await;
        wire.send(&format!(
            "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\
             Cookie: linkgate={cookie}\r\n\r\n"
        ))
        .await;
        let head = wire.until("\r\n\r\n").await;
        assert_eq!(head.starts_with("HTTP/1.1 101"), opens, "{head}");
        if opens {
            // What is said in the tunnel arrives as it is, and so does what comes back.
            wire.send("said in the tunnel\r\n\r\n").await;
            wire.until("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n").await;
            assert_eq!(fronted.recorder.last().head, "said in the tunnel");
        } else {
            assert_eq!(fronted.recorder.requests().len(), before);
        }
    }

    let before = fronted.recorder.requests().len();
    let Fronted { program, recorder, address, front, _home } = fronted;
    program.kill().await;
    let mut ada = ada.program();
    ada.address = address;
    for path in ["/page", "/static/x.css", "/.linkgate/sign-in"] {
        let answer = ada.open(path).await;
        assert!(answer.status.is_server_error(), "{path}: {answer:?} {:#?}", front.log());
    }
    assert_eq!(recorder.requests().len(), before, "nobody passes unasked");
}

macro_rules! stories {
    ($($name:ident: $front:expr,)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn leads_visitors_to_sign_in_and_back() {
                visitors_sign_in_and_come_back($front).await;
            }

            #[tokio::test]
            async fn lets_nothing_forged_through() {
                nothing_forged_gets_through($front).await;
            }

            #[tokio::test]
            async fn opens_tunnels_and_fails_closed() {
                tunnels_open_for_the_signed_in_and_nothing_passes_without_the_gateway($front).await;
            }
        }
    )*};
}

stories! {
    nginx: NGINX,
    caddy: CADDY,
    haproxy: HAPROXY,
    apache: APACHE,
    traefik: TRAEFIK,
    envoy: ENVOY,
}

#[tokio::test]
async fn the_examples_are_what_is_printed() {
    for front in ALL {
        let home = Home::with(&front.example("gateway.toml"));
        for file in front.files {
            let printed = home.run(&["snippet", front.name, "--part", file]).await;
            assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
            assert_eq!(printed.stdout, front.example(file), "examples/{}/{file}", front.name);
        }
        let first = home.run(&["snippet", front.name]).await;
        assert_eq!(first.stdout, front.example(front.files[0]));
    }
}

#[tokio::test]
async fn a_snippet_follows_the_configuration() {
    let home = Home::with(&(NGINX.example("gateway.toml") + "[identity_headers]\npreset = \"remote-user\"\n"));
    let printed = home.run(&["snippet", "nginx"]).await.stdout;
    assert!(printed.contains("proxy_set_header Remote-User $linkgate_remote_user;"), "{printed}");
    assert!(printed.contains("proxy_set_header X-Forwarded-User \"\";"), "{printed}");
    let wrong = home.run(&["snippet", "nginx", "--part", "linkgate.lua"]).await;
    let stderr = "error: no file of that name belongs to this proxy\n  hint: there is `linkgate.conf`\n";
    assert_eq!((wrong.code, wrong.stdout.as_str(), wrong.stderr.as_str()), (Some(2), "", stderr));
    let bad = Home::with("public_url = 1\n").run(&["snippet", "nginx"]).await;
    assert_eq!((bad.code, bad.stdout.as_str()), (Some(2), ""));
}
