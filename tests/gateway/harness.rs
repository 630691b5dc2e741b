//! A gateway of one's own for each story, and visitors who speak to it over sockets.
//!
//! The gateway is the real one, in this process, on port 0 and with a clock that stands still until it is moved.
//! Its public address is `http://localhost:8080` whatever port it listens on: visitors say so in `Host`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use linkgate::clock::{Clock, Timestamp};
use linkgate::config::Config;
use linkgate::gateway::{self, NotReloaded, Reloaded, Running};
use linkgate::secret::random_bytes;
use linkgate::store::Shared;
use linkgate::store::memory::Memory;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::recorder::Recorder;
use crate::wire::Wire;

/// The host that visitors say in every story that does not set another.
pub(crate) const HOST: &str = "localhost:8080";
/// The same where the gateway ends TLS.
pub(crate) const SECURE_HOST: &str = "localhost:8443";
/// When every story begins.
pub(crate) const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// Nothing on this machine takes longer, however busy it is; a story that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration of a story: the built-in issuer, open sign-up, and one route to a recorder.
pub(crate) fn configuration(upstream: SocketAddr) -> String {
    format!(
        r#"
public_url = "http://localhost:8080"
listen = "127.0.0.1:0"
stop_timeout = "5s"
[admin]
listen = "127.0.0.1:0"
[session]
store = "memory"
[issuer]
mailbox = true
[[issuer.user]]
email = "root@example.com"
name = "Rita Root"
groups = ["ops", "on, call"]
roles = ["admin"]
[sign_up]
allow = ["*"]
[[route]]
upstream = "http://{upstream}"
"#
    )
}

/// A configuration with other routes: `UPSTREAM` in them stands for the URL of the recorder, in its quotes.
pub(crate) fn with_routes(configuration: &str, routes: &str) -> String {
    let (rest, route) = configuration.split_once("[[route]]").unwrap();
    let upstream = route.trim().strip_prefix("upstream = ").unwrap();
    format!("{rest}{}", routes.replace("UPSTREAM", upstream))
}

/// A running gateway with what a story needs around it.
pub(crate) struct Gate {
    pub(crate) running: Running,
    pub(crate) clock: Clock,
    pub(crate) store: Shared,
    pub(crate) recorder: Recorder,
    /// How visitors speak TLS with it, where it does.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// The configuration that it started with.
    pub(crate) text: String,
}

impl Gate {
    /// A gateway in front of a recorder.
    pub(crate) async fn start() -> Self {
        Self::with(|configuration| configuration).await
    }

    /// A gateway whose configuration the story changes.
    pub(crate) async fn with(change: impl FnOnce(String) -> String) -> Self {
        let clock = Clock::manual(START);
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        Self::on(store, clock, change).await
    }

    /// A gateway on a store of the story's own.
    pub(crate) async fn on(store: Shared, clock: Clock, change: impl FnOnce(String) -> String) -> Self {
        let recorder = Recorder::start().await;
        let text = change(configuration(recorder.address));
        let config = parse(&text);
        let running = gateway::start_with(&config, clock.clone(), Arc::clone(&store)).await.unwrap();
        let gate = Self { running, clock, store, recorder, tls: None, text };
        if config.issuer.is_some() {
            gate.ready().await;
        }
        gate
    }

    /// Has the gateway go over to a change of the configuration that it started with.
    pub(crate) async fn try_reload(&self, change: impl FnOnce(&str) -> String) -> Result<Reloaded, NotReloaded> {
        self.running.reload(Config::parse(&change(&self.text), Path::new("story/gateway.toml"))).await
    }

    /// The same with one that it must take; gives what it says to be different, and what to be waiting.
    pub(crate) async fn reload(&self, change: impl FnOnce(&str) -> String) -> [Vec<String>; 2] {
        let reloaded = self.try_reload(change).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        [reloaded.applied, reloaded.waiting].map(|changes| changes.iter().map(ToString::to_string).collect())
    }

    /// Waits until the gateway says that it is ready.
    pub(crate) async fn ready(&self) {
        let ready = async {
            while self.admin("/health/ready").await.status != StatusCode::OK {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the gateway becomes ready");
    }

    /// Somebody with an empty cookie jar.
    pub(crate) fn visitor(&self) -> Visitor {
        let visitor = Visitor::new(self.running.address);
        let host = if self.tls.is_some() { SECURE_HOST.to_owned() } else { visitor.host.clone() };
        Visitor { host, tls: self.tls.clone(), ..visitor }
    }

    /// Somebody who is signed in as `address`.
    pub(crate) async fn signed_in(&self, address: &str) -> Visitor {
        let mut visitor = self.visitor();
        visitor.sign_in(self, address, "/").await;
        visitor
    }

    /// Asks the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(self.running.admin_address, request.as_bytes()).await
    }

    /// Somebody who asked for a link, and the callback that the link leads to.
    pub(crate) async fn asked(&self, address: &str, return_to: &str) -> (Visitor, String) {
        let mut visitor = self.visitor();
        let sent = visitor.ask_for_link(address, return_to).await;
        assert_eq!(sent.location(), "/.linkgate/sign-in/sent");
        let callback = visitor.press_link(self, address).await;
        (visitor, callback)
    }

    /// How often a step of signing in or out was counted, once what was begun is done.
    pub(crate) async fn counted(&self, event: &str) -> u64 {
        self.running.settle().await;
        let metrics = self.admin("/metrics").await.body;
        let name = format!("linkgate_sign_ins_total{{event=\"{event}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    /// How many mails the issuer sent, once what was begun is done.
    pub(crate) async fn mails(&self) -> usize {
        self.running.settle().await;
        self.store.index_members("issuer/mails").await.unwrap().len()
    }

    /// A connection of the story's own.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(self.running.address).await
    }

    /// Sends bytes as they are and gives the answer. The request should ask for the connection to be closed.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        exchange(self.running.address, request.as_bytes()).await
    }
}

/// Reads a story's configuration, which must be in order.
pub(crate) fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("story/gateway.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{self:?}");
        self.header("location")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `h1` of a page.
    pub(crate) fn heading(&self) -> &str {
        between(&self.body, "<h1", "</h1>").split_once('>').map_or("", |(_, text)| text).trim()
    }

    /// The value of a form's field.
    pub(crate) fn field(&self, name: &str) -> String {
        let field = between(&self.body, &format!("name=\"{name}\" value=\""), "\"");
        field.replace("&#x2f;", "/").replace("&amp;", "&").replace("&#x3D;", "=")
    }

    /// The cookies that the answer sets, as they are written.
    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Whether the answer gives the browser a session.
    pub(crate) fn gives_session(&self) -> bool {
        let cookies = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        cookies.into_iter().any(|cookie| {
            ["linkgate=", "__Host-linkgate="].iter().any(|name| cookie.starts_with(name))
                && !cookie.contains("Max-Age=0")
        })
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(found, _)| found)
}

/// Somebody with a browser: keeps cookies, follows nothing by itself.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Where the visitor finds the gateway.
    pub(crate) address: SocketAddr,
    /// The host that the visitor says.
    pub(crate) host: String,
    /// How the visitor speaks TLS, if so.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// Cookies by name.
    pub(crate) jar: BTreeMap<String, String>,
    /// Fields sent with every request.
    pub(crate) fields: Vec<(String, String)>,
}

impl Visitor {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let fields = [
            ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { address, host: HOST.to_owned(), tls: None, jar: BTreeMap::new(), fields }
    }

    /// The same visitor as a program that asks for JSON.
    pub(crate) fn program(&self) -> Self {
        let mut program = self.clone();
        program.fields = vec![("accept".to_owned(), "application/json".to_owned())];
        program
    }

    /// The same visitor with another `User-Agent`.
    pub(crate) fn calling_itself(mut self, user_agent: &str) -> Self {
        self.fields.retain(|(name, _)| name != "user-agent");
        self.fields.push(("user-agent".to_owned(), user_agent.to_owned()));
        self
    }

    /// The same browser at another gateway.
    pub(crate) fn at(mut self, gate: &Gate) -> Self {
        self.address = gate.running.address;
        self
    }

    /// Whether the gateway knows the visitor by `address`, or knows nobody.
    pub(crate) async fn is_known_as(&self, gate: &Gate, address: Option<&str>) -> bool {
        let session = self.program().at(gate).open("/.linkgate/session").await;
        match address {
            Some(address) => session.status == StatusCode::OK && session.json()["email"] == address,
            None => session.status == StatusCode::UNAUTHORIZED,
        }
    }

    /// Opens a page. Absolute URLs of the gateway are fine.
    pub(crate) async fn open(&mut self, target: &str) -> Answer {
        self.send(Method::GET, target, &[], "").await
    }

    /// Sends a form.
    pub(crate) async fn post(&mut self, target: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, target, &[("content-type", "application/x-www-form-urlencoded")], &body).await
    }

    /// Sends a request with further fields, and keeps the cookies that come back.
    pub(crate) async fn send(&mut self, method: Method, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let origin = ["http://localhost:8080", "https://localhost:8080", "https://localhost:8443"];
        let target = origin.iter().find_map(|origin| target.strip_prefix(origin)).unwrap_or(target);
        let target = target.strip_prefix(&format!("http://{}", self.host)).unwrap_or(target);
        let target = target.split('#').next().unwrap();
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        let own = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(fields.iter().copied()) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.jar.is_empty() {
            let cookies: Vec<_> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.push_str(&format!("cookie: {}\r\n", cookies.join("; ")));
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request.push_str(&format!("\r\n{body}"));
        let answer = match &self.tls {
            Some(tls) => exchange_over(self.secure_stream(tls).await, request.as_bytes()).await,
            None => exchange(self.address, request.as_bytes()).await,
        };
        self.keep_cookies(&answer);
        answer
    }

    async fn secure_stream(&self, tls: &Arc<rustls::ClientConfig>) -> TlsStream<TcpStream> {
        let name = self.host.split(':').next().unwrap().to_owned().try_into().unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.unwrap()
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Asks for a link as a person does: opens the page, fills the form in. Gives the answer to the form.
    pub(crate) async fn ask_for_link(&mut self, address: &str, return_to: &str) -> Answer {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
        let page = self.open(&format!("/.linkgate/sign-in?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let csrf = page.field("csrf");
        self.post("/.linkgate/sign-in", &[("email", address), ("csrf", &csrf), ("return_to", return_to)]).await
    }

    /// The callback URL behind the newest mail to `address`: opens the link and presses its button.
    pub(crate) async fn press_link(&mut self, gate: &Gate, address: &str) -> String {
        let mail = mail(gate, address).await;
        self.press(mail["link"].as_str().unwrap()).await
    }

    /// The callback URL behind a mailed link: opens it and presses its button.
    pub(crate) async fn press(&mut self, link: &str) -> String {
        let page = self.open(link).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let token = page.field("token");
        self.post("/.linkgate/link", &[("token", &token)]).await.location().to_owned()
    }

    /// The whole way in. Gives the answer of the callback.
    pub(crate) async fn sign_in(&mut self, gate: &Gate, address: &str, return_to: &str) -> Answer {
        let sent = self.ask_for_link(address, return_to).await;
        assert_eq!(sent.location(), "/.linkgate/sign-in/sent");
        let callback = self.press_link(gate, address).await;
        let landed = self.open(&callback).await;
        assert!(landed.gives_session(), "{landed:?}");
        landed
    }

    /// The session's cookie, empty where there is none.
    pub(crate) fn session_cookie(&self) -> String {
        let cookie = self.jar.get("linkgate").or_else(|| self.jar.get("__Host-linkgate"));
        cookie.cloned().unwrap_or_default()
    }
}

/// The newest mail to `address`, once whatever was begun in the background is done.
pub(crate) async fn mail(gate: &Gate, address: &str) -> Value {
    let mail = try_mail(gate, address).await;
    assert_eq!(mail.status, StatusCode::OK, "no mail to {address}: {mail:?}");
    mail.json()
}

/// What the mailbox says about mail to `address`.
pub(crate) async fn try_mail(gate: &Gate, address: &str) -> Answer {
    gate.running.settle().await;
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("to", address).finish();
    gate.visitor().program().open(&format!("/.linkgate/mailbox/latest?{query}")).await
}

/// A parameter of a URL, or of a path with a query.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Sends bytes and reads until the other side closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    exchange_over(TcpStream::connect(address).await.unwrap(), request).await
}

async fn exchange_over(stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Answer {
    let bytes = tokio::time::timeout(PATIENCE, exchange_bytes(stream, request)).await.expect("an answer comes");
    read_answer(&bytes)
}

async fn exchange_bytes(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Vec<u8> {
    // The other side may answer and close before it has read all of a request that it refuses.
    stream.write_all(request).await.ok();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.ok();
    bytes
}

/// Reads one HTTP/1.1 answer.
pub(crate) fn read_answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim().parse().unwrap());
    }
    let chunked = headers.get("transfer-encoding").is_some();
    let body = if chunked { join_chunks(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn join_chunks(mut body: &str) -> String {
    let mut joined = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else { break };
        joined.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    joined
}

/// A port where nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A port that the system gives to nobody who asks for any port: it gives those from 32768.
pub(crate) fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| 10_000 + u16::from_be_bytes(random_bytes()) % 22_000);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).unwrap()
}

/// Waits until something is so.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to be so");
}
