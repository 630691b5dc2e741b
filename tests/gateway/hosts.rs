//! Several hosts, one sign-in: the hand-over from the public host to the others, and what it is worth in other hands.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;

use crate::harness::{Answer, Gate, HOST, Visitor, parameter, with_routes};

const WIKI: &str = "wiki.localhost:8080";
const OTHER: &str = "other.test.localhost:8080";
const ROUTES: &str = r#"
[[route]]
upstream = UPSTREAM
[[route]]
host = "wiki.localhost"
upstream = UPSTREAM
[[route]]
host = "other.test.localhost"
upstream = UPSTREAM
"#;

async fn gate() -> Gate {
    Gate::with(|text| with_routes(&text, ROUTES)).await
}

/// Somebody with a browser that keeps a jar for each host, and follows redirects from one to another.
pub(crate) struct Traveller {
    visitor: Visitor,
    jars: BTreeMap<String, BTreeMap<String, String>>,
    /// Every address that was opened.
    pub(crate) way: Vec<String>,
}

impl Traveller {
    pub(crate) fn new(gate: &Gate) -> Self {
        Self { visitor: gate.visitor(), jars: BTreeMap::new(), way: Vec::new() }
    }

    /// One request to an absolute URL.
    async fn ask(&mut self, url: &str) -> Answer {
        let (_, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        self.visitor.host = host.to_owned();
        self.visitor.jar = self.jars.remove(host).unwrap_or_default();
        let answer = self.visitor.send(Method::GET, path, &[], "").await;
        self.jars.insert(host.to_owned(), std::mem::take(&mut self.visitor.jar));
        self.way.push(url.to_owned());
        answer
    }

    /// Opens a page and follows where it leads. Gives where that ends and what is there.
    pub(crate) async fn open(&mut self, url: &str) -> (String, Answer) {
        let mut url = url.to_owned();
        for _ in 0..12 {
            let answer = self.ask(&url).await;
            if answer.status != 303 {
                return (url, answer);
            }
            url = absolute(&url, answer.location());
        }
        panic!("it leads in circles: {:?}", self.way);
    }

    /// One request, whose redirect is not followed but told.
    pub(crate) async fn step(&mut self, url: &str) -> String {
        let answer = self.ask(url).await;
        absolute(url, answer.location())
    }

    pub(crate) fn jar(&mut self, host: &str) -> &mut BTreeMap<String, String> {
        self.jars.entry(host.to_owned()).or_default()
    }

    /// Fills the sign-in page at `url` in, and follows the link that is mailed.
    pub(crate) async fn sign_in(&mut self, gate: &Gate, url: &str, address: &str) -> (String, Answer) {
        let (at, page) = self.open(url).await;
        assert!(at.starts_with("http://localhost:8080/.linkgate/sign-in?"), "{at}");
        self.visitor.host = HOST.to_owned();
        self.visitor.jar = self.jars.remove(HOST).unwrap_or_default();
        let (csrf, return_to) = (page.field("csrf"), page.field("return_to"));
        let form = [("email", address), ("csrf", &csrf), ("return_to", &return_to)];
        assert_eq!(self.visitor.post("/.linkgate/sign-in", &form).await.location(), "/.linkgate/sign-in/sent");
        let callback = self.visitor.press_link(gate, address).await;
        self.jars.insert(HOST.to_owned(), std::mem::take(&mut self.visitor.jar));
        self.open(&absolute("http://localhost:8080/", &callback)).await
    }

    /// Presses "Sign out" on the page of `host`.
    async fn sign_out(&mut self, host: &str) -> Answer {
        let (_, page) = self.open(&format!("http://{host}/.linkgate/sign-out")).await;
        self.post(host, "/.linkgate/sign-out", &[("csrf", &page.field("csrf"))]).await
    }

    /// Sends a form to `host` from a page of it.
    pub(crate) async fn post(&mut self, host: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        self.visitor.host = host.to_owned();
        self.visitor.jar = self.jars.remove(host).unwrap_or_default();
        let origin = format!("http://{host}");
        let fields = [("origin", origin.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = self.visitor.send(Method::POST, path, &fields, &body).await;
        self.jars.insert(host.to_owned(), std::mem::take(&mut self.visitor.jar));
        answer
    }
}

fn absolute(base: &str, location: &str) -> String {
    url::Url::parse(base).unwrap().join(location).unwrap().to_string()
}

/// The address that the application was asked for, with the host and who asked.
fn seen(gate: &Gate) -> (String, String, String) {
    let seen = gate.recorder.last();
    let value = |name: &str| seen.values(name).concat();
    (value("host"), seen.line().to_owned(), value("x-forwarded-email"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sign_in_is_good_on_every_host() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    let (at, page) = ada.sign_in(&gate, "http://wiki.localhost:8080/page?x=1&y=%2F", "ada@example.com").await;
    assert_eq!((at.as_str(), page.status.as_u16()), ("http://wiki.localhost:8080/page?x=1&y=%2F", 200));
    let expected = |host: &str, line: &str| (host.to_owned(), line.to_owned(), "ada@example.com".to_owned());
    assert_eq!(seen(&gate), expected(WIKI, "GET /page?x=1&y=%2F HTTP/1.1"));

    // On the other two without a page in between.
    let (at, _) = ada.open("http://other.test.localhost:8080/deep").await;
    assert_eq!(at, "http://other.test.localhost:8080/deep");
    assert_eq!(seen(&gate), expected(OTHER, "GET /deep HTTP/1.1"));
    let (at, _) = ada.open("http://localhost:8080/home").await;
    assert_eq!(at, "http://localhost:8080/home");
    assert_eq!(gate.mails().await, 1);

    // Three cookies that have nothing in common, and none of them reaches the application.
    let cookies: Vec<String> = [HOST, WIKI, OTHER].iter().map(|host| ada.jar(host)["linkgate"].clone()).collect();
    assert!(cookies[0] != cookies[1] && cookies[1] != cookies[2] && cookies[0] != cookies[2]);
    assert!(gate.recorder.requests().iter().all(|request| request.values("cookie").is_empty()));
    for url in &ada.way {
        for cookie in &cookies {
            assert!(!url.contains(cookie.as_str()), "{url}");
        }
    }
    // From now on nothing leads through the public host.
    ada.way.clear();
    ada.open("http://wiki.localhost:8080/again").await;
    assert_eq!(ada.way, ["http://wiki.localhost:8080/again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_of_one_host_gives_nothing_on_another() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://wiki.localhost:8080/", "ada@example.com").await;
    ada.open("http://other.test.localhost:8080/").await;
    let cookie = |ada: &mut Traveller, host: &str| ada.jar(host)["linkgate"].clone();
    let (public, wiki, other) = (cookie(&mut ada, HOST), cookie(&mut ada, WIKI), cookie(&mut ada, OTHER));
    let before = gate.recorder.requests().len();
    for (host, cookie) in
        [(HOST, &wiki), (HOST, &other), (WIKI, &public), (WIKI, &other), (OTHER, &public), (OTHER, &wiki)]
    {
        let mut thief = gate.visitor().program();
        thief.host = host.to_owned();
        for name in ["linkgate", "__Host-linkgate", "linkgate-browser"] {
            thief.jar = [(name.to_owned(), cookie.clone())].into();
            assert_eq!(thief.open("/page").await.status, 401, "{host} {name}");
            assert_eq!(thief.open("/.linkgate/session").await.status, 401, "{host} {name}");
        }
    }
    assert_eq!(gate.recorder.requests().len(), before);
}

/// Somebody who is signed in on the public host, on the way to the wiki: the address at which they would arrive.
async fn on_the_way(gate: &Gate) -> (Traveller, String) {
    let mut ada = Traveller::new(gate);
    ada.sign_in(gate, "http://localhost:8080/", "ada@example.com").await;
    let sign_in = ada.step("http://wiki.localhost:8080/page").await;
    let hand_over = ada.step(&sign_in).await;
    assert!(
        hand_over.starts_with("http://localhost:8080/.linkgate/hand-over?host=wiki.localhost&state="),
        "{hand_over}"
    );
    let arrive = ada.step(&hand_over).await;
    assert!(arrive.starts_with("http://wiki.localhost:8080/.linkgate/arrive?ticket="), "{arrive}");
    (ada, arrive)
}

fn has_session(traveller: &mut Traveller, host: &str) -> bool {
    traveller.jar(host).contains_key("linkgate")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_good_once_and_in_the_browser_that_asked() {
    let gate = gate().await;
    let (mut ada, arrive) = on_the_way(&gate).await;

    // Another browser, without a cookie and with one of its own: no session, and the ticket is not spent.
    let mut eve = Traveller::new(&gate);
    let (_, page) = eve.open(&arrive).await;
    assert_eq!((page.status.as_u16(), page.heading()), (403, "Your browser isn't keeping our cookie"));
    eve.open("http://wiki.localhost:8080/").await;
    let (at, page) = eve.open(&arrive).await;
    assert!(at.starts_with("http://localhost:8080/.linkgate/sign-in?"), "{at}");
    assert!(page.status == 200 && !has_session(&mut eve, WIKI));

    assert_eq!(ada.step(&arrive).await, "http://wiki.localhost:8080/page");
    assert!(has_session(&mut ada, WIKI));
    // A second time it is not good, in the same browser without its session.
    ada.jar(WIKI).remove("linkgate");
    let again = ada.step(&arrive).await;
    assert!(again.starts_with("http://wiki.localhost:8080/.linkgate/sign-in?"), "{again}");
    assert!(!has_session(&mut ada, WIKI));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_signed_in_as_somebody_else_without_knowing() {
    let gate = gate().await;
    // Eve's ticket, with what her browser took along, opened in the browser of somebody who is on the way too.
    let (_, eves) = on_the_way(&gate).await;
    let mut victim = Traveller::new(&gate);
    let sign_in = victim.step("http://wiki.localhost:8080/").await;
    let own = victim.step(&sign_in).await;
    assert!(victim.jar(WIKI).contains_key("linkgate-browser"));
    let (at, _) = victim.open(&eves).await;
    assert!(at.starts_with("http://localhost:8080/.linkgate/sign-in?") && !has_session(&mut victim, WIKI), "{at}");
    // Nor with the state of the victim's own.
    let (ticket, state) = (parameter(&eves, "ticket"), parameter(&own, "state"));
    let mixed = format!("http://wiki.localhost:8080/.linkgate/arrive?ticket={ticket}&state={state}&return_to=/");
    victim.step(&mixed).await;
    assert!(!has_session(&mut victim, WIKI));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_for_one_host_and_a_minute() {
    let gate = gate().await;
    let (mut ada, arrive) = on_the_way(&gate).await;
    let elsewhere = arrive.replace("//wiki.localhost:8080", "//other.test.localhost:8080");
    ada.open("http://other.test.localhost:8080/.linkgate/session").await;
    let browser = ada.jar(WIKI)["linkgate-browser"].clone();
    ada.jar(OTHER).insert("linkgate-browser".to_owned(), browser);
    ada.step(&elsewhere).await;
    assert!(!has_session(&mut ada, OTHER), "another host");
    gate.clock.advance(Duration::from_secs(61));
    ada.step(&arrive).await;
    assert!(!has_session(&mut ada, WIKI), "too late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_hand_over_is_refused() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://localhost:8080/", "ada@example.com").await;
    let state = "A".repeat(43);
    for path in [
        "/.linkgate/hand-over".to_owned(),
        format!("/.linkgate/hand-over?host=evil.test&state={state}"),
        format!("/.linkgate/hand-over?host=localhost&state={state}"),
        format!("/.linkgate/hand-over?host=wiki.localhost:81&state={state}"),
        format!("/.linkgate/hand-over?host=WIKI.localhost&state={state}"),
        format!("/.linkgate/hand-over?host=wiki.localhost&host=evil.test&state={state}"),
        "/.linkgate/hand-over?host=wiki.localhost&state=".to_owned(),
        "/.linkgate/hand-over?host=wiki.localhost&state=%0d%0a".to_owned(),
    ] {
        let (_, page) = ada.open(&format!("http://localhost:8080{path}")).await;
        assert_eq!(page.status, 400, "{path}");
    }
    for (method, fields) in [
        (Method::HEAD, vec![]),
        (Method::POST, vec![]),
        (Method::GET, vec![("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]),
        (Method::GET, vec![("sec-purpose", "prefetch")]),
    ] {
        let mut visitor = gate.visitor();
        visitor.jar = ada.jar(HOST).clone();
        let target = format!("/.linkgate/hand-over?host=wiki.localhost&state={state}");
        let answer = visitor.send(method.clone(), &target, &fields, "").await;
        assert!(answer.status == 400 || answer.status == 405, "{method} {fields:?} {answer:?}");
        assert_eq!(answer.header("location"), "");
    }
    // The public host takes nobody in, and the others hand nobody over nor know of mails.
    let mut visitor = gate.visitor();
    assert_eq!(visitor.open(&format!("/.linkgate/arrive?ticket={state}&state={state}")).await.status, 404);
    visitor.host = WIKI.to_owned();
    for path in ["hand-over", "callback", "mailbox", "sign-in/sent", "link"] {
        assert_eq!(visitor.open(&format!("/.linkgate/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leads_to_hosts_of_ours_only() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://localhost:8080/", "ada@example.com").await;
    for target in [
        "//evil.test",
        "/\\evil.test",
        "https://evil.test/",
        "http://wiki.localhost.evil.test:8080/",
        "http://wiki.localhost:81/",
        "https://wiki.localhost:8080/",
        "http://user@wiki.localhost:8080/",
        "/.linkgate/sign-out",
        "/favicon.ico",
    ] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", target).finish();
        ada.jar(WIKI).clear();
        let (at, _) = ada.open(&format!("http://wiki.localhost:8080/.linkgate/sign-in?{query}")).await;
        assert_eq!(at, "http://wiki.localhost:8080/", "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_anywhere_signs_out_everywhere() {
    let gate = gate().await;
    for host in [HOST, WIKI] {
        let mut ada = Traveller::new(&gate);
        ada.sign_in(&gate, "http://wiki.localhost:8080/", "ada@example.com").await;
        ada.open("http://other.test.localhost:8080/").await;
        gate.clock.advance(Duration::from_secs(120));
        let answer = ada.sign_out(host).await;
        assert_eq!(answer.location(), "/.linkgate/signed-out");
        assert!(!has_session(&mut ada, host));
        let before = gate.recorder.requests().len();
        for host in [HOST, WIKI, OTHER] {
            let mut program = gate.visitor().program();
            (program.host, program.jar) = (host.to_owned(), ada.jar(host).clone());
            assert_eq!(program.open("/").await.status, 401, "{host}");
        }
        assert_eq!(gate.recorder.requests().len(), before);
        let (at, _) = ada.open("http://other.test.localhost:8080/").await;
        assert!(at.starts_with("http://localhost:8080/.linkgate/sign-in?"), "{at}");
        gate.clock.advance(Duration::from_secs(120));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_ends_with_its_session_and_is_used_with_it() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://wiki.localhost:8080/", "ada@example.com").await;
    // Eleven hours at a time on one host keep the session alive for all of them.
    for _ in 0..3 {
        gate.clock.advance(Duration::from_secs(11 * 3600));
        ada.open("http://wiki.localhost:8080/").await;
        gate.running.settle().await;
    }
    ada.way.clear();
    ada.open("http://localhost:8080/").await;
    assert_eq!(ada.way.len(), 1, "{:?}", ada.way);
    gate.clock.advance(Duration::from_secs(13 * 3600));
    let (at, page) = ada.open("http://wiki.localhost:8080/").await;
    assert!(at.starts_with("http://localhost:8080/.linkgate/sign-in?"), "{at}");
    assert!(page.body.contains("12 hours"), "it says why: {}", page.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_sign_in_at_once_all_arrive_where_they_wanted() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://localhost:8080/", "ada@example.com").await;
    // Both set out before either arrives, and the first has no cookie yet.
    let first = ada.step("http://wiki.localhost:8080/one").await;
    let second = ada.step("http://wiki.localhost:8080/two").await;
    let no_cookie_yet = ada.jar(WIKI).clone();
    let first = ada.step(&first).await;
    *ada.jar(WIKI) = no_cookie_yet;
    let second = ada.step(&second).await;
    assert_eq!(ada.open(&first).await.0, "http://wiki.localhost:8080/one");
    assert_eq!(ada.open(&second).await.0, "http://wiki.localhost:8080/two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_round_is_a_page_that_says_what_may_be_wrong() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://localhost:8080/", "ada@example.com").await;
    // A browser that keeps every cookie but that of the session.
    let mut rounds = 0;
    let page = loop {
        let sign_in = ada.step("http://wiki.localhost:8080/page").await;
        let answer = ada.ask(&sign_in).await;
        if answer.status != 303 {
            break answer;
        }
        let hand_over = absolute(&sign_in, answer.location());
        let arrive = ada.step(&hand_over).await;
        assert_eq!(ada.step(&arrive).await, "http://wiki.localhost:8080/page");
        ada.jar(WIKI).remove("linkgate");
        rounds += 1;
    };
    assert_eq!((rounds, page.status.as_u16()), (2, 403));
    assert_eq!(page.heading(), "Your browser isn't keeping our cookie");
    assert!(page.body.contains("wiki.localhost"), "{}", page.body);
    // "Try again" is given a chance.
    let (at, _) = ada.open("http://wiki.localhost:8080/page").await;
    assert_eq!(at, "http://wiki.localhost:8080/page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_that_another_gateway_does_not_know_are_told_so() {
    let (here, there) = (Gate::start().await, Gate::start().await);
    let mut ada = here.visitor();
    for _ in 0..2 {
        let csrf_page = ada.open("/.linkgate/sign-in").await;
        assert_eq!(csrf_page.heading(), "Sign in to localhost");
        ada.sign_in(&here, "ada@example.com", "/").await;
        here.clock.advance(Duration::from_secs(31));
        // The next request reaches the other gateway, which has a store of its own.
        let answer = ada.clone().at(&there).open("/").await;
        assert!(answer.location().starts_with("/.linkgate/sign-in?"));
        let cookie = ada.session_cookie();
        ada.jar.retain(|name, _| name != "linkgate");
        ada.fields.retain(|(name, _)| name != "x-session");
        ada.fields.push(("x-session".to_owned(), cookie));
    }
    let (_, cookie) = ada.fields.pop().unwrap();
    ada.jar.insert("linkgate".to_owned(), cookie);
    let page = ada.clone().at(&there).open("/.linkgate/sign-in").await;
    assert_eq!((page.status.as_u16(), page.heading()), (403, "Your sign-in was not found again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_on_another_host_work_there() {
    let routes = r#"
[[route]]
upstream = UPSTREAM
[[route]]
host = "wiki.localhost"
upstream = UPSTREAM
allow = { roles = ["admin"] }
"#;
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let mut ada = Traveller::new(&gate);
    let (at, page) = ada.sign_in(&gate, "http://wiki.localhost:8080/page", "ada@example.com").await;
    assert_eq!((at.as_str(), page.status.as_u16()), ("http://wiki.localhost:8080/page", 403));
    assert!(page.body.contains("ada@example.com"));
    for asset in ["style.css", "page.js"] {
        let found = page
            .body
            .split('"')
            .find(|text| text.contains("/.linkgate/assets/") && text.ends_with(asset.split('.').next_back().unwrap()));
        let (_, answer) = ada.open(&absolute(&at, found.unwrap())).await;
        assert_eq!(answer.status, 200, "{asset}");
    }
    let session = ada.open("http://wiki.localhost:8080/.linkgate/session").await.1;
    assert_eq!(session.json()["email"], "ada@example.com");
    let mut program = gate.visitor().program();
    program.host = WIKI.to_owned();
    assert_eq!(program.open("/page").await.json()["login_url"], "http://wiki.localhost:8080/.linkgate/sign-in");
    // A form on the public host may end on another one: browsers ask the page whether it may.
    let (_, sign_in) = Traveller::new(&gate).open("http://localhost:8080/.linkgate/sign-in").await;
    let policy = sign_in.header("content-security-policy");
    assert!(policy.contains("form-action 'self' http://localhost:8080 http://wiki.localhost:8080;"), "{policy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_not_spent_by_who_shows_it_with_something_else() {
    let gate = gate().await;
    let (mut ada, arrive) = on_the_way(&gate).await;
    // Another way of the same browser, with a state of its own.
    let sign_in = ada.step("http://wiki.localhost:8080/other").await;
    let hand_over = ada.step(&sign_in).await;
    let (ticket, state) = (parameter(&arrive, "ticket"), parameter(&hand_over, "state"));
    ada.step(&format!("http://wiki.localhost:8080/.linkgate/arrive?ticket={ticket}&state={state}&return_to=/")).await;
    assert!(!has_session(&mut ada, WIKI));
    assert_eq!(ada.step(&arrive).await, "http://wiki.localhost:8080/page");
    assert!(has_session(&mut ada, WIKI));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_another_one_replaced_is_none_any_more() {
    let gate = gate().await;
    let other = Gate::on(gate.store.clone(), gate.clock.clone(), |text| with_routes(&text, ROUTES)).await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://wiki.localhost:8080/", "ada@example.com").await;
    let mut copy = gate.visitor().program();
    (copy.host, copy.jar) = (WIKI.to_owned(), ada.jar(WIKI).clone());
    assert_eq!(copy.clone().at(&other).open("/.linkgate/session").await.status, 200);
    // The same browser comes once more, as it does when its first tabs are restored together.
    let seat = ada.jar(WIKI).remove("linkgate").unwrap();
    let sign_in = ada.step("http://wiki.localhost:8080/page").await;
    let hand_over = ada.step(&sign_in).await;
    let arrive = ada.step(&hand_over).await;
    ada.jar(WIKI).insert("linkgate".to_owned(), seat);
    assert_eq!(ada.step(&arrive).await, "http://wiki.localhost:8080/page");
    assert_eq!(copy.open("/.linkgate/session").await.status, 401);
    crate::harness::eventually(async || copy.clone().at(&other).open("/.linkgate/session").await.status == 401).await;
    let mut now = gate.visitor().program();
    (now.host, now.jar) = (WIKI.to_owned(), ada.jar(WIKI).clone());
    assert_eq!(now.open("/.linkgate/session").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_and_in_again_is_no_circle() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    for round in 0..4 {
        let address = format!("ada{round}@example.com");
        let (at, _) = ada.sign_in(&gate, "http://wiki.localhost:8080/page", &address).await;
        assert_eq!(at, "http://wiki.localhost:8080/page", "round {round}");
        assert_eq!(ada.sign_out(WIKI).await.location(), "/.linkgate/signed-out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_page_of_another_host_is_reached_too() {
    let gate = gate().await;
    let mut ada = Traveller::new(&gate);
    let url = format!("http://other.test.localhost:8080/{}", "a".repeat(2040));
    assert_eq!(ada.sign_in(&gate, &url, "ada@example.com").await.0, url);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_whose_form_is_stale_goes_on_to_its_own_page() {
    let gate = gate().await;
    let (mut first, mut second) = (gate.visitor(), gate.visitor());
    // Two tabs of one browser, restored at once: the second answer's cookie is the one that is kept.
    let page = first.open("/.linkgate/sign-in?return_to=/one").await;
    second.open("/.linkgate/sign-in?return_to=/two").await;
    first.jar = second.jar.clone();
    let form = [("email", "ada@example.com"), ("csrf", &*page.field("csrf")), ("return_to", "/one")];
    let stale = first.post("/.linkgate/sign-in", &form).await;
    assert_eq!((stale.status.as_u16(), stale.heading()), (403, "Sign in to localhost"));
    assert!(stale.body.contains("value=\"ada@example.com\""), "what was typed is there: {}", stale.body);
    assert_eq!(gate.mails().await, 0);
    let form =
        [("email", "ada@example.com"), ("csrf", &*stale.field("csrf")), ("return_to", &stale.field("return_to"))];
    assert_eq!(first.post("/.linkgate/sign-in", &form).await.location(), "/.linkgate/sign-in/sent");
    let callback = first.press_link(&gate, "ada@example.com").await;
    assert_eq!(first.open(&callback).await.location(), "/one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_knows_a_seat_and_its_end() {
    let gate = gate().await;
    let other = Gate::on(gate.store.clone(), gate.clock.clone(), |text| with_routes(&text, ROUTES)).await;
    let mut ada = Traveller::new(&gate);
    ada.sign_in(&gate, "http://wiki.localhost:8080/", "ada@example.com").await;
    let mut there = other.visitor().program();
    (there.host, there.jar) = (WIKI.to_owned(), ada.jar(WIKI).clone());
    assert_eq!(there.open("/.linkgate/session").await.status, 200);
    ada.sign_out(WIKI).await;
    gate.running.settle().await;
    crate::harness::eventually(async || there.clone().open("/.linkgate/session").await.status == 401).await;
}
