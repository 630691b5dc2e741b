//! `linkgate explain`, the gateway, and what it tells other proxies are one: for requests that are made up from a fixed
//! seed, of hosts, paths, methods, fields, addresses and visitors of every kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use linkgate::clock::Timestamp;
use linkgate::config::Config;
use linkgate::gateway::explain::{Explainer, Explanation, Question};
use linkgate::identity::{EmailAddress, Identity, Subject};
use serde_json::{Value, json};

use crate::harness::{Answer, Gate, HOST, with_routes};
use crate::hosts::Traveller;
use crate::program::Home;
use crate::recorder::Recorded;

const WIKI: &str = "wiki.localhost:8080";
const SEED: u64 = 5;
const REQUESTS: usize = 1000;
/// Every so many requests the program is asked too.
const STRIDE: usize = 25;

const ROUTES: &str = r#"
[[route]]
upstream = UPSTREAM
public = [{ path = "/static" }, { path = "/hook", methods = ["POST"] }]
public_browser_files = true

[[route]]
path = "/ops"
upstream = UPSTREAM
show_reason = true
strip_prefix = true
allow = [{ groups = ["ops"], max_sign_in_age = "10m" }, { roles = ["admin"] }]

[[route]]
path = "/ops/office"
upstream = UPSTREAM
show_reason = true
host_header = "upstream"
allow = [{ groups = ["dev"], networks = ["198.51.100.0/24"] }, { groups = ["ops"], networks = ["192.0.2.0/24"] }]
[[route.deny]]
addresses = ["eve@example.com"]

[[route]]
path = "/hours"
upstream = UPSTREAM
show_reason = true
allow = [
  { domains = ["example.com"], hours = { from = "10:00", to = "17:00", zone = "UTC" } },
  { addresses = ["root@example.com"], hours = { days = ["fri"], zone = "UTC" } },
]

[[route]]
path = "/trial"
upstream = UPSTREAM
mode = "observe"
add_prefix = "/inner"
allow = { claims = { groups = { contains = "on, call" } } }
deny = { networks = ["198.51.100.0/24"] }

[[route]]
path = "/open"
upstream = UPSTREAM
access = "optional"
show_reason = true
body_bytes = 10
deny = [{ groups = ["dev"] }, { networks = ["203.0.113.0/24"] }]

[[route]]
path = "/read"
methods = ["GET", "HEAD"]
upstream = UPSTREAM
access = "public"
[route.request_headers]
set = { X-Mode = "read" }
remove = ["X-Custom"]

[[route]]
path = "/front"
upstream = "front-proxy"
show_reason = true
allow = { groups = ["ops", "dev"] }

[[route]]
host = "wiki.localhost"
upstream = UPSTREAM
show_reason = true
allow = { domains = ["example.com"] }

[[route]]
host = "*.wild.localhost"
path = "/ops"
upstream = UPSTREAM
access = "optional"
"#;

/// Numbers that are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Somebody who is signed in on both hosts.
struct Somebody {
    address: &'static str,
    identity: Identity,
    signed_in_at: Timestamp,
    /// The cookies of each host.
    cookies: BTreeMap<&'static str, String>,
}

impl Somebody {
    async fn sign_in(gate: &Gate, address: &'static str) -> Self {
        let mut traveller = Traveller::new(gate);
        traveller.sign_in(gate, &format!("http://{HOST}/.linkgate/sign-in?return_to=%2Fpage"), address).await;
        traveller.open(&format!("http://{WIKI}/")).await;
        let (_, session) = traveller.open(&format!("http://{HOST}/.linkgate/session")).await;
        let cookies = [HOST, WIKI].map(|host| {
            let pairs: Vec<String> =
                traveller.jar(host).iter().map(|(name, value)| format!("{name}={value}")).collect();
            (host, pairs.join("; "))
        });
        let session = session.json();
        let list = |name: &str| serde_json::from_value(session[name].clone()).unwrap();
        let identity = Identity {
            email: Some(EmailAddress::parse(address).unwrap()),
            email_verified: true,
            name: session["name"].as_str().map(str::to_owned),
            groups: list("groups"),
            roles: list("roles"),
            ..Identity::new(Subject::try_from(session["subject"].as_str().unwrap().to_owned()).unwrap())
        };
        let signed_in_at = Timestamp::from_rfc_3339(session["signed_in_at"].as_str().unwrap()).unwrap();
        Self { address, identity, signed_in_at, cookies: cookies.into() }
    }
}

/// A request, and whose it is.
struct Case<'a> {
    method: &'static str,
    host: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    body: &'static str,
    who: Option<&'a Somebody>,
}

impl<'a> Case<'a> {
    fn made_up(dice: &mut Dice, people: &'a [Somebody]) -> Self {
        let method = dice.one(&[
            "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE", "BREW",
        ]);
        let host = dice.one(&[
            HOST,
            HOST,
            HOST,
            HOST,
            HOST,
            HOST,
            "LOCALHOST:8080",
            WIKI,
            WIKI,
            "a.wild.localhost:8080",
            "localhost",
            "wiki.localhost:9",
            "evil.test:8080",
            "user@localhost:8080",
            "local host",
        ]);
        let mut fields = Vec::new();
        let forwarded = dice.one(&[
            "",
            "198.51.100.7",
            "192.0.2.9",
            "203.0.113.5",
            "192.0.2.9, 10.1.1.1",
            "198.51.100.7, nonsense",
            "::ffff:198.51.100.7",
            "1.2.3.4, 192.0.2.1",
        ]);
        if !forwarded.is_empty() {
            fields.push(("X-Forwarded-For", forwarded.to_owned()));
        }
        let further: &[(&str, &str)] = [
            &[][..],
            &[],
            &[("X-Forwarded-User", "root"), ("X_Forwarded_Email", "root@example.com"), ("X-Custom", "1")],
            &[("X-Request-Id", "abcdefgh-1"), ("Cookie", "own=1")],
            &[("Expect", "a-miracle")],
            &[("Connection", "X-Custom, close"), ("X-Custom", "hop"), ("TE", "trailers")],
            &[("Transfer-Encoding", "gzip")],
            &[("Host", "localhost:8080")],
            &[("X-Original-URL", "/ops"), ("Authorization", "Bearer x")],
        ][dice.below(9)];
        fields.extend(further.iter().map(|(name, value)| (*name, (*value).to_owned())));
        if dice.below(12) == 0 {
            let origin = dice.one(&["http://localhost:8080", "http://evil.test", "http://wiki.localhost:8080"]);
            let handshake = [
                ("Connection", "close, Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", dice.one(&["13", "13", "13", "8"])),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("Origin", origin),
            ];
            fields.extend(handshake.map(|(name, value)| (name, value.to_owned())));
        }
        let body = if matches!(method, "POST" | "PUT") { dice.one(&["", "x=1", "a=12345678901234567890"]) } else { "" };
        let who = people.get(dice.below(people.len() + 1));
        Self { method, host, target: target(dice), fields, body, who }
    }

    /// The fields beside `Host`, with those that make a whole request of it.
    fn all_fields(&self) -> Vec<(&str, &str)> {
        let mut fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        fields.push(("Accept", "application/json"));
        if !fields.iter().any(|(name, _)| *name == "Connection") {
            fields.push(("Connection", "close"));
        }
        fields
    }

    /// The cookies that a browser sends to the host.
    fn cookies(&self) -> Option<&str> {
        self.who?.cookies.get(self.host.to_ascii_lowercase().as_str()).map(String::as_str)
    }

    fn sent(&self) -> String {
        let mut request = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        let length = self.body.len().to_string();
        let length = Some(("Content-Length", length.as_str())).filter(|_| !self.body.is_empty());
        let cookies = self.cookies().map(|cookies| ("Cookie", cookies));
        for (name, value) in self.all_fields().into_iter().chain(length).chain(cookies) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{request}\r\n{}", self.body)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let length = self.body.len().to_string();
        let length = Some(("Content-Length", length.as_str())).filter(|_| !self.body.is_empty());
        for (name, value) in self.all_fields().into_iter().chain(length) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        if headers.contains_key("host") {
            headers.append("host", HeaderValue::from_str(self.host).unwrap());
        }
        headers
    }

    fn explained(&self, explainer: &Explainer, now: Timestamp) -> Explanation {
        let visitor = self.who.filter(|_| self.cookies().is_some());
        explainer.explain(&Question {
            method: Method::from_bytes(self.method.as_bytes()).unwrap(),
            authority: self.host.to_owned(),
            target: self.target.clone(),
            headers: self.headers(),
            peer: [127, 0, 0, 1].into(),
            visitor: visitor.and_then(|who| explainer.suppose(who.identity.clone(), who.signed_in_at)),
            grant: None,
            now,
        })
    }

    /// The arguments that ask the program the same.
    fn arguments(&self, now: Timestamp) -> Vec<String> {
        let url = format!("http://{}{}", self.host, self.target);
        let mut arguments: Vec<String> =
            ["explain", &url, "--json", "--peer", "127.0.0.1", "--method", self.method, "--at"]
                .map(str::to_owned)
                .into();
        arguments.push(now.to_string());
        let mut add = |name: &str, value: String| arguments.push(format!("--{name}={value}"));
        for (name, value) in &self.headers() {
            add("header", format!("{name}: {}", value.to_str().unwrap()));
        }
        let Some(who) = self.who.filter(|_| self.cookies().is_some()) else { return arguments };
        add("as", who.address.to_owned());
        add("claim", format!("sub={}", who.identity.subject));
        who.identity.name.iter().for_each(|name| add("claim", format!("name={name}")));
        who.identity.groups.iter().for_each(|group| add("group", group.clone()));
        who.identity.roles.iter().for_each(|role| add("role", role.clone()));
        let ago = now.since(who.signed_in_at).as_secs();
        if ago > 0 {
            add("signed-in-ago", format!("{ago}s"));
        }
        arguments
    }
}

/// A path in one of many spellings, with a query or without.
fn target(dice: &mut Dice) -> String {
    let base = dice.one(&[
        "/",
        "/page",
        "/static/app.js",
        "/hook",
        "/ops",
        "/ops/",
        "/ops/x",
        "/ops/office",
        "/ops/office/x",
        "/opsx",
        "/hours",
        "/trial/x",
        "/open",
        "/open/x",
        "/read/x",
        "/favicon.ico",
        "/front",
        "/front/x",
        "/.well-known/security.txt",
        "/.linkgate/session",
        "/.LinkGate/session",
        "/OPS",
    ]);
    let path = match dice.below(24) {
        0 => base.replacen('o', "%6f", 1),
        1 => base.replacen('/', "//", 1),
        2 => format!("{base}/../ops"),
        3 => format!("{base}/%2e%2e/ops"),
        4 => format!("{base}/..;x/ops"),
        5 => format!("{base}%2fops"),
        6 => format!("{base}\\ops"),
        7 => format!("{base}/%252e%252e"),
        8 => format!("{base}/caf\u{e9}"),
        9 => format!("{base}/%zz"),
        10 => format!("{base}/%ff"),
        11 => format!("\\{base}"),
        12 => format!("{base};v=1"),
        13 => format!("{base}/./x"),
        14 => format!("/static/..{base}"),
        15 => format!("/{}", "x".repeat(20_000)),
        _ => base.to_owned(),
    };
    let query = dice.one(&["", "", "?x=1", "?next=/../ops", "?a=%zz&b=%2f", "?"]);
    format!("{path}{query}")
}

/// Fields that belong to one connection, or that are another in each request.
const HOPS: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "x-request-id", "upgrade"];

/// What the recorder must have been sent by an explanation.
fn assert_forwarded(explanation: &Explanation, recorded: &Recorded, case: &str) {
    let forwarded = explanation.forwarded.as_ref().unwrap_or_else(|| panic!("{case}"));
    let line = recorded.line().split(' ').nth(1).unwrap();
    assert_eq!(line, forwarded.target, "{case}");
    let counts = |name: &str| !HOPS.contains(&name);
    let mut expected: Vec<(String, String)> =
        forwarded.headers.iter().filter(|(name, _)| counts(name)).cloned().collect();
    let fields = recorded.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut seen: Vec<(String, String)> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| counts(name))
        .map(|(name, value)| match name.as_str() {
            "authorization" | "cookie" | "sec-websocket-key" => (name, "(not shown)".to_owned()),
            _ => (name, value),
        })
        .collect();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected, "{case}");
}

/// Whether another proxy could ask about the request: by fields that hold plain text, about a request that no proxy refuses
/// or changes before it asks.
fn can_be_asked_about(case: &Case<'_>) -> bool {
    let is_refused_before = |name: &str| matches!(name, "Host" | "Transfer-Encoding");
    !case.host.contains('@') && !case.fields.iter().any(|(name, _)| is_refused_before(name))
}

/// The question of a proxy in front about a request that it was sent.
fn question(case: &Case<'_>) -> String {
    let mut question = format!("GET /.linkgate/auth HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    let length = case.body.len().to_string();
    let length = Some(("Content-Length", length.as_str())).filter(|_| !case.body.is_empty());
    let said =
        [("X-Forwarded-Method", case.method), ("X-Forwarded-Host", case.host), ("X-Forwarded-Uri", &case.target)];
    let cookies = case.cookies().map(|cookies| ("Cookie", cookies));
    let fields = case.all_fields().into_iter().filter(|(name, _)| !matches!(*name, "Connection" | "Upgrade"));
    for (name, value) in fields.chain(said).chain(length).chain(cookies) {
        question.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{question}\r\n{}", case.body)
}

/// The proxy in front must be told what the explanation says.
fn assert_answered(explanation: &Explanation, answer: &Answer, case: &str) {
    let Some(forwarded) = &explanation.forwarded else {
        return match explanation.status {
            Some(_) => assert_refused(explanation, answer, case),
            None => assert_eq!((answer.status.as_u16(), explanation.verdict), (200, "portal"), "{case}"),
        };
    };
    assert_eq!(answer.status.as_u16(), 200, "{case}");
    for name in ["user", "email", "preferred-username", "groups", "roles"].map(|name| format!("x-forwarded-{name}")) {
        let told = forwarded.headers.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value);
        assert_eq!(answer.header(&name), told, "{case}");
    }
}

fn assert_refused(explanation: &Explanation, answer: &Answer, case: &str) {
    let status = match (explanation.status, explanation.verdict) {
        (Some(status), _) => status,
        // What another proxy forwards is not there beside it.
        (None, "allowed") => return assert_eq!(answer.status.as_u16(), 404, "{case}"),
        (None, verdict) => return assert_eq!(verdict, "portal", "{case}"),
    };
    assert_eq!(answer.status.as_u16(), status, "{case}");
    // The framework refuses what it cannot read with a bare status.
    let Ok(told) = serde_json::from_str::<Value>(&answer.body) else { return };
    assert_eq!(told["error"], explanation.verdict, "{case}");
    if told["reason"].is_string() {
        assert_eq!(told["reason"], json!(explanation.reason), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_are_explained_proxied_and_answered_for_in_one_way() {
    let gate = Gate::with(|text| {
        let people = "[sign_up]\nallow = []\n[[issuer.user]]\nemail = \"ada@example.com\"\nname = \"Ada\"\n\
                      groups = [\"dev\"]\n[[issuer.user]]\nemail = \"bob@example.com\"\ngroups = [\"ops\"]\n\
                      [[issuer.user]]\nemail = \"eve@example.com\"\ngroups = [\"ops\"]\n\
                      [[issuer.user]]\nemail = \"sam@friends.test\"\ngroups = [\"on, call\"]\n";
        let text = text.replace("[sign_up]\nallow = [\"*\"]\n", people);
        let text = format!("trusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]\n{text}");
        with_routes(&text, ROUTES)
    })
    .await;
    let mut people = Vec::new();
    for address in ["root@example.com", "bob@example.com"] {
        people.push(Somebody::sign_in(&gate, address).await);
    }
    gate.clock.advance(Duration::from_secs(3600));
    for address in ["ada@example.com", "eve@example.com", "sam@friends.test", "bob@example.com"] {
        people.push(Somebody::sign_in(&gate, address).await);
    }
    let home = Home::with(&gate.text);
    let config = Config::parse(&gate.text, Path::new("gateway.toml")).unwrap();
    let now = gate.clock.now();
    let explainer = Explainer::new(&config, gate.clock.clone()).unwrap();
    let mut dice = Dice(SEED);
    let mut verdicts = BTreeMap::new();
    let mut asked = 0;
    for at in 0..REQUESTS {
        let case = Case::made_up(&mut dice, &people);
        let told = format!("{at}: {:?} {}", case.who.map(|who| who.address), case.sent());
        let explanation = case.explained(&explainer, now);
        let before = gate.recorder.requests().len();
        let answer = gate.raw(&case.sent()).await;
        let recorded = gate.recorder.requests().split_off(before);
        let told = format!("{told:.1500}\n{explanation:?}\n{answer:?}");
        assert_eq!(recorded.len(), usize::from(explanation.verdict == "forwarded"), "{told}");
        match recorded.first() {
            Some(recorded) => assert_forwarded(&explanation, recorded, &told),
            None => assert_refused(&explanation, &answer, &told),
        }
        if can_be_asked_about(&case) {
            let answer = gate.raw(&question(&case)).await;
            assert_answered(&explanation, &answer, &format!("{told}\nasked by a proxy: {answer:?}"));
            asked += 1;
        }
        if at % STRIDE == 0 {
            let arguments = case.arguments(now);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ended = home.run(&arguments).await;
            let mut by_program: Value =
                serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
            assert_eq!(by_program["file"].take(), "gateway.toml");
            let mut expected = json!(explanation);
            expected["file"] = Value::Null;
            assert_eq!(by_program, expected, "{told}");
        }
        *verdicts.entry((explanation.verdict, explanation.reason.map_or("", |reason| reason.code()))).or_insert(0) += 1;
    }
    assert!(asked > REQUESTS * 7 / 10, "only {asked}");
    let found: Vec<(&str, &str)> = verdicts.into_keys().collect();
    let expected = [
        ("address_too_long", ""),
        ("allowed", ""),
        ("bad_request", ""),
        ("expectation_failed", ""),
        ("body_too_large", ""),
        ("foreign_origin", ""),
        ("forwarded", ""),
        ("forwarded", "denied"),
        ("forwarded", "not_named"),
        ("method_not_allowed", ""),
        ("no_access", "denied"),
        ("no_access", "hours"),
        ("no_access", "network"),
        ("no_access", "not_named"),
        ("not_found", ""),
        ("portal", ""),
        ("sign_in_required", ""),
        ("step_up_required", "sign_in_too_old"),
        ("unknown_host", ""),
        ("unknown_method", ""),
    ];
    let missing: Vec<_> = expected.iter().filter(|verdict| !found.contains(verdict)).collect();
    assert!(missing.is_empty(), "the requests are of every kind but {missing:?}: {found:?}");
}
