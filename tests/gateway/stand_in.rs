//! A stand-in for Mosaic that plays the whole flow well, until a story tells it otherwise, and counts what it was asked.
//!
//! Gateways before it are reached by `https://app.example.test`, as behind a proxy that ends TLS.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};

use linkgate::clock::Clock;
use linkgate::secret::random_token;
use linkgate::store::Shared;
use linkgate::store::memory::Memory;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::harness::{Answer, Gate, PATIENCE, START, Visitor};
use crate::mosaic::{key_set, merged, sign};

pub(crate) const TOKEN: &str = "/oidc/token";
pub(crate) const KEYS: &str = "/cis/oidc/jwks";
pub(crate) const SEND: &str = "/cis/v1/auth/link/email/send";
pub(crate) const AUTHENTICATE: &str = "/cis/v1/auth/link/email/authenticate";
pub(crate) const CODE_SEND: &str = "/cis/v1/auth/otp/send";
pub(crate) const CODE_AUTHENTICATE: &str = "/cis/v1/auth/otp/authenticate";
pub(crate) const REFRESH: &str = "/cis/v1/auth/token/refresh";
pub(crate) const SILENT: &str = "/cis/v1/auth/session/authenticate";
pub(crate) const LOGOUT: &str = "/cis/v1/auth/session/logout";
pub(crate) const USERS: &str = "/cis/v1/users";

/// The host that visitors say.
pub(crate) const HOST: &str = "app.example.test";
/// Who signs in where a story does not say otherwise.
pub(crate) const ADA: &str = "ada@example.com";
/// What a followed link brings back.
pub(crate) const CODE: &str = "the-code-of-a-followed-link";
pub(crate) const CLIENT_SECRET: &str = "the-secret-of-the-client-at-mosaic";
pub(crate) const SESSION: &str = "the-session-at-mosaic";
/// How every token begins.
pub(crate) const JWT: &str = "eyJhbGciOi";
pub(crate) const REFRESH_TOKEN: &str = "the-refresh-token";

/// One call as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) authorization: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.content_type, "application/json");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The stand-in.
pub(crate) struct StandIn {
    server: MockServer,
    pub(crate) clock: Clock,
    play: Arc<Play>,
}

struct Play {
    clock: Clock,
    hangs_up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    claims: Value,
    answers: HashMap<&'static str, ResponseTemplate>,
    first_answers: HashMap<&'static str, VecDeque<ResponseTemplate>>,
    holds: HashMap<&'static str, (oneshot::Sender<()>, mpsc::Receiver<()>)>,
}

/// A call that waits for leave to be answered.
pub(crate) struct Held {
    arrived: oneshot::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Held {
    /// Waits until the call is there.
    pub(crate) async fn arrived(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.arrived).await.expect("the call comes").unwrap();
    }

    /// Lets it be answered.
    pub(crate) fn release(self) {
        self.release.send(()).unwrap();
    }
}

impl StandIn {
    /// A stand-in with a clock that stands still.
    pub(crate) async fn start() -> Self {
        Self::with_clock(Clock::manual(START), SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// A stand-in at an address of the story's own.
    pub(crate) async fn with_clock(clock: Clock, address: SocketAddr) -> Self {
        let server = MockServer::builder().listener(TcpListener::bind(address).unwrap()).start().await;
        let play = Arc::new(Play { clock: clock.clone(), hangs_up: AtomicBool::new(false), state: Mutex::default() });
        Mock::given(any()).respond_with(Player(Arc::clone(&play))).mount(&server).await;
        let away = Arc::clone(&play);
        Mock::given(move |_: &Request| away.hangs_up.load(Ordering::SeqCst))
            .respond_with_err(|_: &Request| std::io::Error::from(std::io::ErrorKind::ConnectionReset))
            .with_priority(1)
            .mount(&server)
            .await;
        Self { server, clock, play }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.server.address()
    }

    /// A gateway before it, on a store in memory.
    pub(crate) async fn gate(&self) -> Gate {
        self.gate_on(self.memory(), |configuration| configuration).await
    }

    pub(crate) fn memory(&self) -> Shared {
        Arc::new(Memory::new(self.clock.clone()))
    }

    /// A gateway before it, on a store of the story's own.
    pub(crate) async fn gate_on(&self, store: Shared, change: impl FnOnce(String) -> String) -> Gate {
        let gate = unready_gate(store, self.clock.clone(), self.address(), change).await;
        gate.ready().await;
        gate
    }

    /// The same, without waiting until it is ready.
    pub(crate) async fn unready_gate_on(&self, store: Shared) -> Gate {
        unready_gate(store, self.clock.clone(), self.address(), |configuration| configuration).await
    }

    /// Gives a call this answer from now on.
    pub(crate) fn answer(&self, path: &'static str, answer: ResponseTemplate) {
        self.play.state.lock().unwrap().answers.insert(path, answer);
    }

    /// Gives the next call this answer, before any other; several are given in turn.
    pub(crate) fn answer_next(&self, path: &'static str, answer: ResponseTemplate) {
        self.play.state.lock().unwrap().first_answers.entry(path).or_default().push_back(answer);
    }

    /// Gives a call this status and message from now on.
    pub(crate) fn refuse(&self, path: &'static str, status: u16, message: &str) {
        self.answer(path, refusal(status, message));
    }

    /// Plays a call well again.
    pub(crate) fn recover(&self, path: &'static str) {
        self.play.state.lock().unwrap().answers.remove(path);
    }

    /// Whether connections break off without an answer from now on.
    pub(crate) fn hang_up(&self, hangs_up: bool) {
        self.play.hangs_up.store(hangs_up, Ordering::SeqCst);
    }

    /// Keeps the next call to `path` waiting, and every call after it.
    pub(crate) fn hold(&self, path: &'static str) -> Held {
        let ((arrive, arrived), (release, released)) = (oneshot::channel(), mpsc::channel());
        self.play.state.lock().unwrap().holds.insert(path, (arrive, released));
        Held { arrived, release }
    }

    /// What ID tokens say from now on beside or instead of the usual.
    pub(crate) fn claim(&self, claims: Value) {
        self.play.state.lock().unwrap().claims = claims;
    }

    /// The answer to a login, with other members where `change` names them.
    pub(crate) fn tokens(&self, change: Value) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(merged(self.play.tokens(), change))
    }

    /// The claims of an ID token now.
    pub(crate) fn id_claims(&self) -> Value {
        self.play.id_claims()
    }

    pub(crate) fn access_claims(&self) -> Value {
        self.play.access_claims()
    }

    /// What was asked, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.play.state.lock().unwrap().calls.clone()
    }

    pub(crate) fn calls_to(&self, path: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.line.ends_with(&format!(" {path}"))).collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.calls_to(path).len()
    }

    /// Where the link of the newest mail leads in the end, as its visitor's browser opens it.
    pub(crate) async fn callback(&self, gate: &Gate) -> String {
        gate.running.settle().await;
        let send = self.calls_to(SEND).pop().expect("a link was sent").json();
        format!("/.linkgate/callback?code={CODE}&state={}", send["state"].as_str().unwrap())
    }

    /// Ada on her way: she asked for a link, and this is where it leads.
    pub(crate) async fn asked(&self, gate: &Gate) -> (Visitor, String) {
        let mut visitor = visitor(gate);
        let sent = visitor.ask_for_link(ADA, "/wanted").await;
        assert_eq!(sent.location(), "/.linkgate/sign-in/sent");
        let callback = self.callback(gate).await;
        (visitor, callback)
    }

    /// Ada, signed in.
    pub(crate) async fn signed_in(&self, gate: &Gate) -> Visitor {
        let (mut visitor, callback) = self.asked(gate).await;
        let landed = visitor.open(&callback).await;
        assert!(landed.gives_session(), "{landed:?}");
        visitor
    }
}

/// An answer with a status and a message, in the shape of the magic-link calls.
pub(crate) fn refusal(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "error_code": status.to_string(), "message": message }))
}

/// A gateway that is not waited for, before a Mosaic that may not be there.
pub(crate) async fn unready_gate(
    store: Shared,
    clock: Clock,
    mosaic: SocketAddr,
    change: impl FnOnce(String) -> String,
) -> Gate {
    Gate::on(store, clock, |configuration| change(before(mosaic, &configuration))).await
}

/// The usual configuration with Mosaic at `address` in place of the built-in issuer.
pub(crate) fn before(mosaic: SocketAddr, configuration: &str) -> String {
    let (head, rest) = configuration.split_once("[issuer]").unwrap();
    let (_, route) = rest.split_once("[[route]]").unwrap();
    let head = head.replace("http://localhost:8080", &format!("https://{HOST}"));
    format!(
        "{head}
[mosaic]
base_url = \"http://{mosaic}\"
issuer = \"https://userid.test\"
client_id = \"client-1\"
client_secret_file = \"{}\"
[[route]]{route}",
        SECRET_FILE.display()
    )
}

/// The file that every story's configuration names.
static SECRET_FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (written, file) = (folder.join(random_token().expose()), folder.join("mosaic-client-secret"));
    std::fs::write(&written, CLIENT_SECRET).unwrap();
    // In one step, as another test program may be reading it.
    std::fs::rename(&written, &file).unwrap();
    file
});

/// Somebody with an empty cookie jar who says the host of these stories.
pub(crate) fn visitor(gate: &Gate) -> Visitor {
    Visitor { host: HOST.to_owned(), ..gate.visitor() }
}

/// Somebody who is sent to sign in: signed out, and told so by a redirect alone.
pub(crate) fn assert_signed_out(answer: &Answer) {
    assert!(answer.location().starts_with("/.linkgate/sign-in?return_to="), "{answer:?}");
}

struct Player(Arc<Play>);

impl Respond for Player {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.respond(request)
    }
}

impl Play {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path();
        let field = |name: &str| request.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let call = Call {
            line: format!("{} {path}", request.method),
            authorization: field("authorization"),
            content_type: field("content-type"),
            body: String::from_utf8(request.body.clone()).unwrap(),
        };
        let (held, scripted) = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call);
            let first = state.first_answers.get_mut(path).and_then(VecDeque::pop_front);
            (state.holds.remove(path), first.or_else(|| state.answers.get(path).cloned()))
        };
        if let Some((arrive, released)) = held {
            arrive.send(()).ok();
            released.recv_timeout(PATIENCE).ok();
        }
        scripted.unwrap_or_else(|| self.well(path))
    }

    fn well(&self, path: &str) -> ResponseTemplate {
        let answer = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        match path {
            TOKEN => answer(json!({
                "access_token": "the-token-of-the-client", "token_type": "Bearer", "expires_in": 3600, "scope": "openid",
            })),
            KEYS => answer(key_set()),
            SEND => answer(json!({ "message": "Email sent successfully" })),
            CODE_SEND => answer(json!({ "message": "OTP sent" })),
            AUTHENTICATE | CODE_AUTHENTICATE | SILENT => answer(self.tokens()),
            LOGOUT => ResponseTemplate::new(204),
            _ => ResponseTemplate::new(404).set_body_json(json!({ "message": "User not found", "error_code": 404 })),
        }
    }

    fn tokens(&self) -> Value {
        json!({
            "access_token": sign(&self.access_claims()), "id_token": sign(&self.id_claims()),
            "refresh_token": REFRESH_TOKEN, "token_type": "Bearer", "expires_in": 3600, "session_id": SESSION,
        })
    }

    fn id_claims(&self) -> Value {
        let now = self.clock.now().unix_seconds();
        let usual = json!({
            "iss": "https://userid.test", "aud": "client-1", "sub": "user-1", "tid": "t", "iat": now,
            "exp": now + 3600, "email": ADA, "email_verified": true, "groups": ["before"], "roles": [],
        });
        merged(usual, self.state.lock().unwrap().claims.as_object().cloned().unwrap_or_default().into())
    }

    fn access_claims(&self) -> Value {
        let now = self.clock.now().unix_seconds();
        let subject = self.id_claims()["sub"].clone();
        json!({
            "iss": "https://userid.test", "aud": "userid-api", "client_id": "client-1", "sub": subject, "tid": "t",
            "iat": now, "exp": now + 3600,
        })
    }
}
