//! Tokens that visitors make for their programs: made and shown once, used in place of a cookie, and at an end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use linkgate::clock::Clock;
use linkgate::secret::{from_base64url, random_token};
use linkgate::store::{self, Location};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::at_rest::Witness;
use crate::failing_store::Failing;
use crate::harness::{Answer, Gate, START, Visitor, eventually, with_routes};
use crate::redis_server::RedisServer;
use crate::stand_in::{self, ADA, StandIn};

pub(crate) const ACCOUNT: &str = "/.linkgate/account";
const HOUR: Duration = Duration::from_secs(3600);
const WEEK: &str = "10080";
const ROUTES: &str = "[[route]]\nupstream = UPSTREAM\nbearer = true\n\
    [[route]]\npath = '/cookies'\nupstream = UPSTREAM\n\
    [[route]]\npath = '/git'\nupstream = UPSTREAM\nbearer = true\n\
    [[route]]\npath = '/recent'\nupstream = UPSTREAM\nbearer = true\nallow = { max_sign_in_age = '5m' }\n";

async fn start() -> Gate {
    Gate::with(|text| with_routes(&text, ROUTES)).await
}

/// Makes a token on the account page, and gives the page that shows it.
async fn make(visitor: &mut Visitor, more: &[(&str, &str)]) -> Answer {
    let page = visitor.open(ACCOUNT).await;
    let (csrf, once) = (page.field("csrf"), page.field("once"));
    let form = [("csrf", &*csrf), ("once", &once), ("name", "laptop"), ("minutes", WEEK)];
    visitor.post(ACCOUNT, &[&form, more].concat()).await
}

fn token_on(page: &Answer) -> String {
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let (_, rest) = page.body.split_once("<code>lgp_").unwrap_or_else(|| panic!("no token: {}", page.body));
    format!("lgp_{}", rest.split_once('<').unwrap().0)
}

pub(crate) async fn make_token(visitor: &mut Visitor) -> String {
    token_on(&make(visitor, &[]).await)
}

async fn bear(gate: &Gate, path: &str, token: &str) -> Answer {
    show(gate, path, &format!("Bearer {token}")).await
}

async fn basic(gate: &Gate, path: &str, user: &str, token: &str) -> Answer {
    show(gate, path, &format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))).await
}

async fn show(gate: &Gate, path: &str, authorization: &str) -> Answer {
    let visitor = if gate.text.contains("[mosaic]") { stand_in::visitor(gate) } else { gate.visitor() };
    visitor.program().send(Method::GET, path, &[("authorization", authorization)], "").await
}

fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!(reason)), "{answer:?}");
}

async fn revoke(visitor: &mut Visitor) -> Answer {
    let page = visitor.open(ACCOUNT).await;
    let (csrf, id) = (page.field("csrf"), page.field("revoke"));
    visitor.post(ACCOUNT, &[("csrf", &csrf), ("revoke", &id)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_as_bearer_and_as_password_is_the_same_person_as_the_session() {
    let gate = start().await;
    let mut root = gate.signed_in("root@example.com").await;
    let token = make_token(&mut root).await;
    assert_eq!(root.open("/x").await.status, StatusCode::OK);
    let by_cookie = gate.recorder.last();
    let told = by_cookie.names().into_iter().filter(|name| name.starts_with("x-forwarded-")).collect::<Vec<_>>();
    assert!(told.contains(&"x-forwarded-groups".to_owned()) && told.contains(&"x-forwarded-roles".to_owned()));
    for authorization in [
        format!("Bearer {token}"),
        format!("Basic {}", STANDARD.encode(format!("root:{token}"))),
        format!("Basic {}", STANDARD.encode(format!("anything at all:{token}"))),
    ] {
        assert_eq!(show(&gate, "/x", &authorization).await.status, StatusCode::OK);
        let by_token = gate.recorder.last();
        for name in &told {
            assert_eq!(by_token.values(name), by_cookie.values(name), "{name}");
        }
        assert_eq!(by_token.values("authorization"), [""; 0], "the upstream does not get the token");
    }
    assert_eq!(basic(&gate, "/cookies", "root", &token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_shown_once_and_a_page_that_is_loaded_again_makes_no_other() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let page = ada.open(ACCOUNT).await;
    let (csrf, once) = (page.field("csrf"), page.field("once"));
    let form = [("csrf", &*csrf), ("once", &once), ("name", " laptop <b> "), ("minutes", WEEK)];
    let made = ada.post(ACCOUNT, &form).await;
    let token = token_on(&made);
    assert_eq!((made.header("cache-control"), made.header("referrer-policy")), ("no-store", "no-referrer"));
    assert_eq!(ada.post(ACCOUNT, &form).await.location(), ACCOUNT);
    let page = ada.open(ACCOUNT).await;
    assert!(!page.body.contains("lgp_"), "{}", page.body);
    assert_eq!(page.body.matches("<h3><bdi>laptop &lt;b&gt;</bdi></h3>").count(), 1, "{}", page.body);
    assert!(page.body.contains("Not used so far."));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.running.settle().await;
    let page = ada.open(ACCOUNT).await;
    assert!(page.body.contains("Last used <time datetime=\"2027-01-15T08:00:00Z\">"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn use_is_noted_once_a_minute() {
    let clock = Clock::manual(START);
    let store = Failing::new(clock.clone());
    let gate = Gate::on(store.clone(), clock, |text| with_routes(&text, ROUTES)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = make_token(&mut ada).await;
    let notes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&notes);
    store.fail_when(move |call, key| {
        counted.fetch_add(usize::from(call == "replace" && key.starts_with("personal_token_used:")), Ordering::SeqCst);
        None
    });
    for (wait, expected) in [(0, 1), (59, 1), (1, 2), (1, 2)] {
        gate.clock.advance(Duration::from_secs(wait));
        assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
        gate.running.settle().await;
        assert_eq!(notes.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_does_not_know_the_token() {
    let clock = Clock::manual(START);
    let witness = Witness::new(clock.clone());
    let gate = Gate::on(witness.clone(), clock, |text| with_routes(&text, ROUTES)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = make_token(&mut ada).await;
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.running.settle().await;
    let bytes = from_base64url(token.strip_prefix("lgp_").unwrap()).unwrap();
    for part in [token.as_bytes(), &token.as_bytes()[4..], &bytes[..32]] {
        assert_eq!(witness.seen(part), [""; 0]);
    }
    let seen = witness.seen(b"laptop");
    assert!(seen.iter().all(|entry| entry.starts_with("personal_token:")), "{seen:?}");
    assert!(seen.iter().all(|entry| !entry.contains("ada@")), "who it is, is sealed: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_costs_no_call_to_the_store() {
    let clock = Clock::manual(START);
    let store = Failing::new(clock.clone());
    let gate = Gate::on(store.clone(), clock, |text| with_routes(&text, ROUTES)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = make_token(&mut ada).await;
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    store.fail();
    for at in [4, 20, token.len() - 1] {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert_refused(&bear(&gate, "/x", &changed).await, "malformed");
    }
    for garbage in ["lgp_", "lgp_x", &format!("{token}A")] {
        assert_refused(&bear(&gate, "/x", garbage).await, "malformed");
        assert_refused(&basic(&gate, "/x", "ada", garbage).await, "malformed");
    }
    // What is in memory is believed for a while; after that the store is missed, which is never "revoked".
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(30));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::SERVICE_UNAVAILABLE);
    store.work();
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_time() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = make_token(&mut ada).await;
    gate.clock.advance(7 * 24 * HOUR - Duration::from_secs(1));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(1));
    assert_refused(&bear(&gate, "/x", &token).await, "unknown_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_outlives_its_session_and_ends_when_it_is_revoked() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = make_token(&mut ada).await;
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf), ("everywhere", "1")]).await;
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(60));
    let mut ada = gate.signed_in("ada@example.com").await;
    assert_eq!(revoke(&mut ada).await.location(), ACCOUNT);
    eventually(async || bear(&gate, "/x", &token).await.status == StatusCode::UNAUTHORIZED).await;
    assert_refused(&bear(&gate, "/x", &token).await, "unknown_token");
    assert!(ada.open(ACCOUNT).await.body.contains("You have no tokens."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_on_every_instance_and_is_revoked_on_all_at_once() {
    let clock = Clock::manual(START);
    let location = RedisServer::shared().location(random_token().expose());
    let stand_in = StandIn::with_clock(clock.clone(), ([127, 0, 0, 1], 0).into()).await;
    know(&stand_in, "Active");
    let gate = async || {
        let location = Location::try_from(location.clone()).unwrap();
        let store = store::open(&location, Path::new("."), clock.clone()).unwrap();
        stand_in.gate_on(store, |text| with_routes(&text, ROUTES)).await
    };
    let (one, two) = (gate().await, gate().await);
    let mut ada = stand_in.signed_in(&one).await;
    let token = make_token(&mut ada).await;
    for gate in [&one, &two] {
        assert_eq!(bear(gate, "/x", &token).await.status, StatusCode::OK);
        assert_eq!(gate.recorder.last().values("x-forwarded-email"), [ADA]);
    }
    revoke(&mut ada).await;
    // The clock stands still, so only the announcement makes the other one forget.
    eventually(async || bear(&two, "/x", &token).await.status == StatusCode::UNAUTHORIZED).await;
}

const USER: &str = "/cis/v1/users/user-1";
const GROUPS: &str = "/cis/v1/users/user-1/groups";

fn know(mosaic: &StandIn, status: &str) {
    let email = json!({ "value": ADA, "email_verified": true });
    let user = json!({ "user_id": "user-1", "status": status, "email": email });
    mosaic.answer(USER, ResponseTemplate::new(200).set_body_json(json!({ "result": user })));
    mosaic.answer(GROUPS, ResponseTemplate::new(200).set_body_json(json!({ "result": [] })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_user_within_a_minute() {
    let mosaic = StandIn::start().await;
    know(&mosaic, "Active");
    let gate = mosaic.gate_on(mosaic.memory(), |text| with_routes(&text, ROUTES)).await;
    let token = make_token(&mut mosaic.signed_in(&gate).await).await;
    for _ in 0..3 {
        assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    }
    assert_eq!(mosaic.count(USER), 1, "it is looked up once");
    know(&mosaic, "Disabled");
    gate.clock.advance(Duration::from_secs(59));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(1));
    let before = mosaic.count(USER);
    for _ in 0..3 {
        assert_refused(&bear(&gate, "/x", &token).await, "inactive_user");
    }
    assert_eq!(mosaic.count(USER), before + 1, "what was refuted is not asked about again at once");
    know(&mosaic, "Active");
    gate.clock.advance(Duration::from_secs(5));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_let_in_goes_on_for_an_hour_while_mosaic_is_away() {
    let mosaic = StandIn::start().await;
    know(&mosaic, "Active");
    let gate = mosaic.gate_on(mosaic.memory(), |text| with_routes(&text, ROUTES)).await;
    let token = make_token(&mut mosaic.signed_in(&gate).await).await;
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    mosaic.hang_up(true);
    gate.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(10));
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_somebody_who_is_not_admitted_any_more_is_refused() {
    let mosaic = StandIn::start().await;
    know(&mosaic, "Active");
    let gate = mosaic.gate_on(mosaic.memory(), |text| with_routes(&text, ROUTES)).await;
    let token = make_token(&mut mosaic.signed_in(&gate).await).await;
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    let narrow = "[sign_in]\nallow = ['@other.example']\n[[route]]";
    gate.reload(|text| text.replacen("[[route]]", narrow, 1)).await;
    assert_refused(&bear(&gate, "/x", &token).await, "not_admitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_for_its_routes_alone() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = token_on(&make(&mut ada, &[("route", "localhost/git")]).await);
    assert_eq!(basic(&gate, "/git/x", "ada", &token).await.status, StatusCode::OK);
    let answer = bear(&gate, "/x", &token).await;
    assert_eq!((answer.status, &answer.json()["error"]), (StatusCode::FORBIDDEN, &json!("insufficient_scope")));
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"linkgate\", error=\"insufficient_scope\"");
    assert_eq!(gate.recorder.requests().len(), 1);
    assert!(ada.open(ACCOUNT).await.body.contains("For <bdi>localhost/git</bdi>."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_wants_a_recent_sign_in_counts_from_the_one_that_made_the_token() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    gate.clock.advance(Duration::from_secs(240));
    let token = make_token(&mut ada).await;
    assert_eq!(bear(&gate, "/recent", &token).await.status, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(61));
    let answer = bear(&gate, "/recent", &token).await;
    assert_eq!((answer.status, &answer.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("step_up_required")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_page_offers_is_made() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let long = "x".repeat(61);
    for (more, problem) in [
        (("name", ""), "Give it a name"),
        (("name", &*long), "Give it a name"),
        (("name", "a\nb"), "Give it a name"),
        (("minutes", "525600"), "can&#x27;t be chosen"),
        (("minutes", "1"), "can&#x27;t be chosen"),
        (("route", "localhost/cookies"), "can&#x27;t be chosen"),
    ] {
        let page = make(&mut ada, &[more]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{more:?}");
        let body = page.body.replace('\'', "&#x27;");
        assert!(body.contains(problem) && !body.contains("lgp_"), "{more:?}: {body}");
    }
    assert!(ada.open(ACCOUNT).await.body.contains("You have no tokens."));
    for _ in 0..50 {
        token_on(&make(&mut ada, &[]).await);
    }
    let page = make(&mut ada, &[]).await;
    assert!(page.body.contains("Revoke one first"), "{}", page.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_page_is_for_whoever_is_signed_in_and_its_forms_are_theirs() {
    let gate = start().await;
    let led = gate.visitor().open(ACCOUNT).await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2F.linkgate%2Faccount");
    let mut ada = gate.visitor();
    assert_eq!(ada.sign_in(&gate, "ada@example.com", ACCOUNT).await.location(), ACCOUNT);
    let mut mallory = gate.signed_in("mallory@example.com").await;
    let theirs = mallory.open(ACCOUNT).await.field("csrf");
    let form = |csrf: &str| [("csrf", csrf.to_owned()), ("name", "x".to_owned()), ("minutes", WEEK.to_owned())];
    for csrf in [String::new(), theirs.clone()] {
        let form = form(&csrf);
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(ada.post(ACCOUNT, &form).await.status, StatusCode::FORBIDDEN);
    }
    let csrf = ada.open(ACCOUNT).await.field("csrf");
    let body = format!("csrf={csrf}&name=x&minutes={WEEK}");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let fields = [kind, ("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    assert_eq!(ada.send(Method::POST, ACCOUNT, &fields, &body).await.status, StatusCode::FORBIDDEN);

    // Nobody revokes another's.
    let token = make_token(&mut ada).await;
    let id = ada.open(ACCOUNT).await.field("revoke");
    assert_eq!(id.len(), 12);
    assert_eq!(mallory.post(ACCOUNT, &[("csrf", &theirs), ("revoke", &id)]).await.location(), ACCOUNT);
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    assert!(ada.open(ACCOUNT).await.body.contains(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signed_in_long_ago_makes_no_token() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let page = ada.open(ACCOUNT).await;
    let (csrf, once) = (page.field("csrf"), page.field("once"));
    gate.clock.advance(HOUR);
    let form = [("csrf", &*csrf), ("once", &once), ("name", "laptop"), ("minutes", WEEK)];
    let led = ada.post(ACCOUNT, &form).await;
    assert_eq!(led.location(), "/.linkgate/sign-in?step_up=1&return_to=%2F.linkgate%2Faccount");
    let page = ada.open(ACCOUNT).await;
    assert!(page.body.contains("To make a token, sign in once more.") && !page.body.contains("name=\"minutes\""));
    assert!(page.body.contains("You have no tokens."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_turns_off_counts_no_more() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = make_token(&mut ada).await;
    gate.reload(|text| format!("{text}\n[personal_tokens]\nenabled = false\n")).await;
    assert_refused(&bear(&gate, "/x", &token).await, "unknown_token");
    let page = ada.open(ACCOUNT).await;
    assert!(page.body.contains("Your sign-ins") && !page.body.contains("token"), "{}", page.body);
    let form = [("csrf", &*page.field("csrf")), ("once", "x"), ("name", "laptop"), ("minutes", WEEK)];
    assert_eq!(ada.post(ACCOUNT, &form).await.status, StatusCode::NOT_FOUND);
    gate.reload(|text| format!("{text}\n[personal_tokens]\nlifetime = '5d'\n")).await;
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::OK);
    let page = ada.open(ACCOUNT).await;
    assert!(page.body.contains("value=\"7200\"") && !page.body.contains("value=\"10080\""), "{}", page.body);
}

const DEVICE: &str = "/.linkgate/device";

async fn begin(gate: &Gate, wanted: serde_json::Value) -> Answer {
    let kind = [("content-type", "application/json"), ("user-agent", "linkgate/9 <b>")];
    gate.visitor().program().send(Method::POST, "/.linkgate/device/code", &kind, &wanted.to_string()).await
}

/// What a terminal hears that asks when it may.
async fn poll(gate: &Gate, begun: &serde_json::Value) -> Answer {
    gate.clock.advance(Duration::from_secs(2));
    poll_now(gate, begun).await
}

async fn poll_now(gate: &Gate, begun: &serde_json::Value) -> Answer {
    let body = json!({ "device_code": begun["device_code"] }).to_string();
    let kind = [("content-type", "application/json")];
    gate.visitor().program().send(Method::POST, "/.linkgate/device/token", &kind, &body).await
}

fn assert_error(answer: &Answer, error: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (StatusCode::BAD_REQUEST, &json!(error)), "{answer:?}");
}

async fn type_code(visitor: &mut Visitor, code: &str, decision: &str) -> Answer {
    let csrf = visitor.open(DEVICE).await.field("csrf");
    visitor.post(DEVICE, &[("csrf", &csrf), ("code", code), ("decision", decision)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_gets_a_token_once_its_user_typed_the_code_and_said_yes() {
    let gate = start().await;
    let begun = begin(&gate, json!({ "name": "shell", "routes": ["localhost/git"], "minutes": 60 })).await.json();
    assert_eq!(begun["verification_uri"], "http://localhost:8080/.linkgate/device");
    let code = begun["user_code"].as_str().unwrap();
    assert!(code.len() == 9 && code.chars().all(|letter| !"AEIOUY".contains(letter)), "{code}");
    assert_error(&poll(&gate, &begun).await, "authorization_pending");
    assert_error(&poll_now(&gate, &begun).await, "slow_down");

    let mut ada = gate.signed_in("ada@example.com").await;
    // A link with the code in it does nothing: the field stays empty, and nothing is confirmed.
    let page = ada.open(&format!("{DEVICE}?user_code={code}&code={code}&decision=allow")).await;
    assert!(page.heading() == "Sign a terminal in" && !page.body.contains(code), "{}", page.body);
    let typed = code.to_lowercase().replace('-', " ");
    let page = type_code(&mut ada, &typed, "").await;
    assert_eq!(page.heading(), "Let this terminal in as you?");
    for part in
        ["<bdi>shell</bdi>", "1 hour", "<bdi>localhost/git</bdi>", "<bdi>127.0.0.1</bdi>", "linkgate/9 &lt;b&gt;"]
    {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert_error(&poll(&gate, &begun).await, "authorization_pending");
    assert_eq!(type_code(&mut ada, &typed, "allow").await.heading(), "Your terminal is signed in");

    let answer = poll(&gate, &begun).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(basic(&gate, "/git/x", "ada", &token).await.status, StatusCode::OK);
    assert_eq!(gate.recorder.last().values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::FORBIDDEN);
    assert_error(&poll(&gate, &begun).await, "expired_token");
    assert_eq!(type_code(&mut ada, code, "allow").await.status, StatusCode::UNPROCESSABLE_ENTITY, "the code is spent");
    assert!(ada.open(ACCOUNT).await.body.contains("<bdi>shell</bdi>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_turned_down_or_too_late_gets_nothing() {
    let gate = start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let begun = begin(&gate, json!({ "name": "shell" })).await.json();
    let page = type_code(&mut ada, begun["user_code"].as_str().unwrap(), "deny").await;
    assert_eq!(page.heading(), "Turned down");
    assert_error(&poll(&gate, &begun).await, "access_denied");
    assert_error(&poll(&gate, &begun).await, "expired_token");

    let begun = begin(&gate, json!({ "name": "shell" })).await.json();
    gate.clock.advance(Duration::from_secs(600));
    let page = type_code(&mut ada, begun["user_code"].as_str().unwrap(), "allow").await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_error(&poll(&gate, &begun).await, "expired_token");
    assert!(ada.open(ACCOUNT).await.body.contains("You have no tokens."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_cannot_be_guessed_and_forms_of_others_decide_nothing() {
    let gate = start().await;
    let begun = begin(&gate, json!({ "name": "shell" })).await.json();
    let code = begun["user_code"].as_str().unwrap();
    let stranger = gate.visitor().open(DEVICE).await;
    assert_eq!(stranger.location(), "/.linkgate/sign-in?return_to=%2F.linkgate%2Fdevice");
    let mut ada = gate.signed_in("ada@example.com").await;
    let form = [("csrf", "x"), ("code", code), ("decision", "allow")];
    assert_eq!(ada.post(DEVICE, &form).await.status, StatusCode::FORBIDDEN);
    let csrf = ada.open(DEVICE).await.field("csrf");
    let body = format!("csrf={csrf}&code={code}&decision=allow");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let fields = [kind, ("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    assert_eq!(ada.send(Method::POST, DEVICE, &fields, &body).await.status, StatusCode::FORBIDDEN);
    for _ in 0..10 {
        assert_eq!(type_code(&mut ada, "BCDF-BCDF", "allow").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(type_code(&mut ada, code, "allow").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_error(&poll(&gate, &begun).await, "authorization_pending");
    gate.clock.advance(HOUR);
    let led = type_code(&mut ada, code, "allow").await;
    assert_eq!(led.location(), "/.linkgate/sign-in?step_up=1&return_to=%2F.linkgate%2Fdevice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_terminal_may_not_have_is_refused() {
    let gate = start().await;
    for wanted in [
        json!({ "name": "" }),
        json!({ "name": "x".repeat(61) }),
        json!({ "name": "a\u{1b}[31m" }),
        json!({ "name": "x", "minutes": 0 }),
        json!({ "name": "x", "minutes": 90 * 24 * 60 + 1 }),
    ] {
        assert_error(&begin(&gate, wanted).await, "invalid_request");
    }
    assert_eq!(begin(&gate, json!({ "routes": [] })).await.status, StatusCode::BAD_REQUEST);
    let form = gate.visitor().post("/.linkgate/device/code", &[("name", "x")]).await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "a page of another site could send that");
    let mut ada = gate.signed_in("ada@example.com").await;
    let begun = begin(&gate, json!({ "name": "x", "routes": ["localhost/cookies"] })).await.json();
    let page = type_code(&mut ada, begun["user_code"].as_str().unwrap(), "allow").await;
    assert!(page.body.contains("It asks for a part of the site that takes no tokens."), "{}", page.body);
    assert_error(&poll(&gate, &begun).await, "authorization_pending");
    for _ in 0..30 {
        begin(&gate, json!({ "name": "x" })).await;
    }
    assert_eq!(begin(&gate, json!({ "name": "x" })).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_does_not_know_the_codes() {
    let clock = Clock::manual(START);
    let witness = Witness::new(clock.clone());
    let gate = Gate::on(witness.clone(), clock, |text| with_routes(&text, ROUTES)).await;
    let begun = begin(&gate, json!({ "name": "shell" })).await.json();
    let mut ada = gate.signed_in("ada@example.com").await;
    let (device, user) = (begun["device_code"].as_str().unwrap(), begun["user_code"].as_str().unwrap());
    type_code(&mut ada, user, "allow").await;
    assert_eq!(poll(&gate, &begun).await.status, StatusCode::OK);
    for code in [device, user, &user.replace('-', "")] {
        assert_eq!(witness.seen(code.as_bytes()), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_sends_visitors_and_terminals_on_to_the_public_one() {
    let routes = format!("{ROUTES}[[route]]\nhost = 'wiki.localhost'\nupstream = UPSTREAM\nbearer = true\n");
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let mut there = gate.visitor();
    there.host = "wiki.localhost:8080".to_owned();
    for page in [ACCOUNT, DEVICE] {
        let led = there.open(page).await;
        assert!(led.header("location") == format!("http://localhost:8080{page}"), "{led:?}");
    }
    for call in ["/.linkgate/device/code", "/.linkgate/device/token"] {
        let answer = there.program().send(Method::POST, call, &[("content-type", "application/json")], "{}").await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.header("location"), format!("http://localhost:8080{call}"));
    }
    let mut ada = gate.signed_in("ada@example.com").await;
    let token = token_on(&make(&mut ada, &[("route", "wiki.localhost/")]).await);
    let fields = [("authorization", &*format!("Bearer {token}"))];
    assert_eq!(there.program().send(Method::GET, "/x", &fields, "").await.status, StatusCode::OK);
    assert_eq!(bear(&gate, "/x", &token).await.status, StatusCode::FORBIDDEN);
}
