//! The signed assertion: who gets one, what it says, how long it is kept, and its keys in the course of time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use linkgate::assertion;
use linkgate::clock::{Clock, Timestamp};
use linkgate::secret::random_token;
use linkgate::store::{self, Location, Shared};
use serde_json::{Value, json};

use crate::failing_store::{Failing, unavailable};
use crate::harness::{Gate, START, Visitor, with_routes};
use crate::program::Home;
use crate::redis_server::RedisServer;

const KEYS: &str = "/.linkgate/keys.json";
const HEADER: &str = "x-linkgate-assertion";
const ROOT: &str = "root@example.com";

/// Routes that ask for an assertion, and one that does not.
pub(crate) fn asking(configuration: &str) -> String {
    with_routes(
        configuration,
        r#"
[[route]]
upstream = UPSTREAM
assertion = true
[[route]]
path = "/optional"
access = "optional"
upstream = UPSTREAM
assertion = true
[[route]]
path = "/public"
access = "public"
upstream = UPSTREAM
assertion = true
[[route]]
path = "/plain"
upstream = UPSTREAM
"#,
    )
}

async fn gate() -> Gate {
    Gate::with(|configuration| asking(&configuration)).await
}

/// The assertion that the upstream gets with a request of the visitor.
async fn assertion(gate: &Gate, visitor: &mut Visitor, path: &str) -> String {
    let answer = visitor.open(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let recorded = gate.recorder.last();
    let [value] = recorded.values(HEADER)[..] else { panic!("not one assertion in {recorded:?}") };
    value.to_owned()
}

async fn key_set(gate: &Gate) -> JwkSet {
    let answer = gate.visitor().open(KEYS).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    serde_json::from_value(answer.json()).unwrap()
}

/// The claims of an assertion that a key of the set has signed, for the route of this name, and that is good at `now`.
fn verify(keys: &JwkSet, assertion: &str, audience: &str, now: Timestamp) -> Option<Value> {
    let key = keys.find(&jsonwebtoken::decode_header(assertion).ok()?.kid?)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&["http://localhost:8080"]);
    validation.set_audience(&[audience]);
    let claims: Value = jsonwebtoken::decode(assertion, &DecodingKey::from_jwk(key).unwrap(), &validation).ok()?.claims;
    (claims["exp"].as_i64()? > now.unix_seconds() && claims["nbf"].as_i64()? <= now.unix_seconds()).then_some(claims)
}

fn key_id(assertion: &str) -> String {
    jsonwebtoken::decode_header(assertion).unwrap().kid.unwrap()
}

fn open(location: &str, clock: &Clock) -> Shared {
    let location = Location::try_from(location.to_owned()).unwrap();
    store::open(&location, Path::new("."), clock.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_can_check_who_the_visitor_is() {
    let gate = gate().await;
    let mut visitor = gate.signed_in(ROOT).await;
    let given = assertion(&gate, &mut visitor, "/wiki").await;
    let claims = verify(&key_set(&gate).await, &given, "localhost/", START).unwrap();
    let subject = gate.recorder.last().values("x-forwarded-user")[0].to_owned();
    let sid = claims["sid"].as_str().unwrap().to_owned();
    let now = START.unix_seconds();
    let expected = json!({
        "iss": "http://localhost:8080", "aud": "localhost/", "sub": subject, "sid": sid,
        "iat": now, "nbf": now, "exp": now + 300, "auth_time": now,
        "email": ROOT, "email_verified": true, "name": "Rita Root", "preferred_username": ROOT,
        "groups": ["ops", "on, call"], "roles": ["admin"],
    });
    assert_eq!(claims, expected);
    assert!(!visitor.session_cookie().contains(&sid), "the session's ID is nobody else's");
    // For another route it is another, of the same session.
    let other = assertion(&gate, &mut visitor, "/optional").await;
    let claims = verify(&key_set(&gate).await, &other, "localhost/optional", START).unwrap();
    assert_eq!(claims["sid"], sid);
    assert!(verify(&key_set(&gate).await, &other, "localhost/", START).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_set_is_public_and_has_no_private_part() {
    let gate = gate().await;
    let answer = gate.visitor().open(KEYS).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    assert_eq!(answer.header("content-type"), "application/json");
    let keys = answer.json();
    let [key] = keys["keys"].as_array().unwrap().as_slice() else { panic!("not one key in {keys}") };
    let mut names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!((&key["alg"], &key["crv"], &key["use"]), (&json!("ES256"), &json!("P-256"), &json!("sig")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_visitor_of_a_route_that_asks_has_an_assertion_and_nobody_brings_one() {
    let gate = gate().await;
    let mut visitor = gate.signed_in(ROOT).await;
    let good = assertion(&gate, &mut visitor, "/").await;
    let names = [
        "X-Linkgate-Assertion",
        "x_linkgate_assertion",
        "Cf-Access-Jwt-Assertion",
        "CF_ACCESS_JWT_ASSERTION",
        "Cf-Access.Jwt-Assertion",
        "X-Pomerium-Jwt-Assertion",
        "x.pomerium.jwt.assertion",
        "Cf-Access-Authenticated-User-Email",
        "X-Pomerium-Claim-Email",
    ];
    let forged: Vec<(&str, &str)> = names.iter().map(|name| (*name, "forged")).collect();
    for (path, signed_in) in
        [("/", true), ("/plain", true), ("/public", true), ("/public", false), ("/optional", false)]
    {
        let mut somebody = if signed_in { visitor.clone() } else { gate.visitor() };
        let answer = somebody.send(http::Method::GET, path, &forged, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        let recorded = gate.recorder.last();
        assert!(!recorded.head.contains("forged"), "{path}: {recorded:?}");
        let expected: &[&str] = if path == "/" { &[&good] } else { &[] };
        assert_eq!(recorded.values(HEADER), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_is_minted_once_and_kept_until_it_is_due() {
    let gate = gate().await;
    let mut visitor = gate.signed_in(ROOT).await;
    let first = assertion(&gate, &mut visitor, "/").await;
    // ECDSA signs with chance, so the same text means the same signature. The session is read again meanwhile.
    for _ in 0..4 {
        gate.clock.advance(Duration::from_secs(59));
        assert_eq!(assertion(&gate, &mut visitor, "/deeper").await, first);
    }
    gate.clock.advance(Duration::from_secs(4));
    let second = assertion(&gate, &mut visitor, "/").await;
    assert_ne!(second, first, "less than a minute was left of it");
    let now = gate.clock.now();
    assert_eq!(verify(&key_set(&gate).await, &second, "localhost/", now).unwrap()["exp"], now.unix_seconds() + 300);
    assert_ne!(assertion(&gate, &mut gate.signed_in("bob@example.com").await, "/").await, second);
    // Who signs in again is another session.
    gate.clock.advance(Duration::from_secs(60));
    let again = gate.signed_in(ROOT).await;
    assert_ne!(assertion(&gate, &mut again.clone(), "/").await, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_takes_effect_at_once() {
    let gate = gate().await;
    let mut visitor = gate.signed_in(ROOT).await;
    let first = assertion(&gate, &mut visitor, "/").await;
    let settings = "[assertion]\npreset = \"cf-access\"\nlifetime = \"1m\"\n[[route]]\n";
    gate.reload(|text| text.replacen("[[route]]\n", settings, 1)).await;
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    let recorded = gate.recorder.last();
    assert!(recorded.values(HEADER).is_empty());
    let second = recorded.values("cf-access-jwt-assertion")[0].to_owned();
    let claims = verify(&key_set(&gate).await, &second, "localhost/", START).unwrap();
    assert_eq!(claims["exp"], START.unix_seconds() + 60);
    assert_eq!(key_id(&first), key_id(&second), "the keys are the same");

    gate.reload(|text| text.replacen("[[route]]\n", "[assertion]\npreset = \"x-pomerium\"\n[[route]]\n", 1)).await;
    visitor.open("/").await;
    let third = gate.recorder.last().values("x-pomerium-jwt-assertion")[0].to_owned();
    let claims = verify(&key_set(&gate).await, &third, "localhost/", START).unwrap();
    assert_eq!(claims["user"], claims["sub"]);

    gate.reload(|text| text.replacen("assertion = true\n", "", 1)).await;
    visitor.open("/").await;
    assert!(!gate.recorder.last().head.to_lowercase().contains("assertion"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nothing_is_forwarded_and_with_one_the_store_may_fail() {
    let clock = Clock::manual(START);
    let failing = Failing::new(clock.clone());
    failing.fail_when(|_, key| key.starts_with("assertion/").then(unavailable));
    let store: Shared = Arc::<Failing>::clone(&failing);
    let gate = Gate::on(store, clock, |configuration| asking(&configuration)).await;
    let mut visitor = gate.signed_in(ROOT).await;
    assert_eq!(visitor.open("/plain").await.status, StatusCode::OK);
    let before = gate.recorder.requests().len();
    for path in ["/", KEYS] {
        let answer = visitor.open(path).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"), "{path}");
    }
    assert_eq!(gate.recorder.requests().len(), before, "nothing was forwarded");

    failing.work();
    gate.clock.advance(Duration::from_secs(2));
    let first = assertion(&gate, &mut visitor, "/").await;

    failing.fail_when(|_, key| key.starts_with("assertion/").then(unavailable));
    gate.clock.advance(Duration::from_secs(3 * 3600));
    let later = assertion(&gate, &mut visitor, "/").await;
    assert_eq!(key_id(&later), key_id(&first));
    assert!(verify(&key_set(&gate).await, &later, "localhost/", gate.clock.now()).is_some());
}

/// What checks assertions, and believes its copy of the key set as long as it may.
struct Checker {
    keys: JwkSet,
    fetched_at: Timestamp,
}

impl Checker {
    async fn accepts(&mut self, gate: &Gate, assertion: &str) -> bool {
        let now = gate.clock.now();
        if now.since(self.fetched_at) >= assertion::CACHED_FOR {
            *self = Self { keys: key_set(gate).await, fetched_at: now };
        }
        verify(&self.keys, assertion, "localhost/", now).is_some()
    }
}

/// Visitors who ask all the time, and what checks their assertions.
struct Load {
    gate: Gate,
    visitors: Vec<Visitor>,
    checker: Checker,
}

impl Load {
    async fn new() -> Self {
        let settings = "lifetime = \"60d\"\nidle_timeout = \"60d\"\n[assertion]\nkey_lifetime = \"2d\"\n[issuer]";
        let gate = Gate::with(|configuration| asking(&configuration).replacen("[issuer]", settings, 1)).await;
        let mut visitors = Vec::new();
        for address in [ROOT, "ada@example.com", "bob@example.com"] {
            visitors.push(gate.signed_in(address).await);
        }
        let checker = Checker { keys: key_set(&gate).await, fetched_at: START };
        Self { gate, visitors, checker }
    }

    /// Lets `steps` steps go by, and gives the names of the keys that signed, each time that it is another.
    async fn run(&mut self, steps: usize, step: Duration) -> Vec<String> {
        let mut signed: Vec<String> = Vec::new();
        for _ in 0..steps {
            self.gate.clock.advance(step);
            for visitor in &mut self.visitors {
                let given = assertion(&self.gate, visitor, "/").await;
                assert!(self.checker.accepts(&self.gate, &given).await, "a good assertion was refused: {given}");
                let id = key_id(&given);
                if !signed.contains(&id) {
                    signed.push(id);
                }
            }
            self.gate.running.settle().await;
        }
        signed
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_good_assertion_is_refused_while_keys_change_by_themselves() {
    let mut load = Load::new().await;
    let first = load.run(47, Duration::from_secs(3600)).await;
    assert_eq!(first.len(), 1);
    assert_eq!(key_set(&load.gate).await.keys.len(), 2, "the next key is shown a day ahead");
    let both = load.run(120, Duration::from_secs(50)).await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    load.run(2, Duration::from_secs(3600)).await;
    let shown: Vec<Option<String>> = key_set(&load.gate).await.keys.into_iter().map(|key| key.common.key_id).collect();
    assert_eq!(shown, [Some(both[1].clone())], "the old one is shown no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_good_assertion_is_refused_when_a_key_is_wanted_at_once() {
    let mut load = Load::new().await;
    load.run(3, Duration::from_secs(70)).await;
    let moment = assertion::rotate(&load.gate.store, &load.gate.clock).await.unwrap();
    assert_eq!(moment, load.gate.clock.now().plus(Duration::from_secs(600)));
    let both = load.run(40, Duration::from_secs(50)).await;
    assert_eq!(both.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_on_one_store_have_the_same_keys() {
    let clock = Clock::manual(START);
    let location = RedisServer::shared().location(random_token().expose());
    let start = || Gate::on(open(&location, &clock), clock.clone(), |configuration| asking(&configuration));
    let (one, two) = (start().await, start().await);
    // Both want the first key at the same moment.
    let (of_one, of_two) = tokio::join!(key_set(&one), key_set(&two));
    assert_eq!(of_one, of_two);
    let mut visitor = one.signed_in(ROOT).await;
    let given = assertion(&one, &mut visitor, "/").await;
    assert!(verify(&of_two, &given, "localhost/", START).is_some());
    let given = assertion(&two, &mut visitor.at(&two), "/").await;
    assert!(verify(&of_one, &given, "localhost/", START).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_outlive_a_restart_and_the_program_signs_with_them() {
    let clock = Clock::manual(Clock::system().now());
    let home = Home::before(([127, 0, 0, 1], 9).into());
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &asking(&text));
    let location = format!("sqlite:{}", home.path().join("store.db").display());
    let start = || Gate::on(open(&location, &clock), clock.clone(), |configuration| asking(&configuration));
    let first = start().await;
    let keys = key_set(&first).await;
    first.running.stop().await;
    let second = start().await;
    assert_eq!(key_set(&second).await, keys);

    let printed = home.run(&["assertion", "--route", "localhost/plain", "--as", "Eve@example.com"]).await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let now = Clock::system().now();
    let claims = verify(&keys, printed.stdout.trim(), "localhost/plain", now).unwrap();
    assert_eq!(claims["email"], "eve@example.com");
    let unknown = home.run(&["assertion", "--route", "localhost/nowhere"]).await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(2), ""));
    assert!(unknown.stderr.contains("there is no route `localhost/nowhere`"), "{}", unknown.stderr);

    let rotated = home.run(&["keys", "rotate", "--assertion"]).await;
    assert_eq!(rotated.code, Some(0), "{}", rotated.stderr);
    clock.advance(Duration::from_secs(60));
    assert_eq!(key_set(&second).await.keys.len(), 2);
}
