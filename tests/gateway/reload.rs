//! Another configuration for a gateway that runs: what is different holds from the next request on, what is under way goes
//! on, and a configuration that is not in order changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use linkgate::gateway::NotReloaded;
use tokio::net::TcpListener;

use crate::harness::{Gate, HOST, Visitor, eventually, with_routes};
use crate::program::Home;
use crate::recorder::Recorder;
use crate::stand_in::{ADA, CLIENT_SECRET, StandIn, TOKEN};
use crate::wire::Wire;

const ALL: &str = "[[route]]\nupstream = UPSTREAM\n";

fn with(text: &str, routes: &str) -> String {
    with_routes(text, &format!("{ALL}{routes}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_go_open_and_close() {
    let gate = Gate::start().await;
    let stranger = gate.visitor().program();
    let route = "[[route]]\npath = \"/docs\"\nupstream = UPSTREAM\n";
    let public = format!("{route}access = \"public\"\n");
    let upstream = format!("http://{}", gate.recorder.address);
    let is_new = format!("route localhost/docs is new, served by {upstream}");
    for (routes, expected, status) in [
        (public.as_str(), format!("{is_new}, and public"), 200),
        (route, "route localhost/docs changes from public to signed-in".to_owned(), 401),
        (&public, "route localhost/docs becomes public".to_owned(), 200),
        ("", "route localhost/docs is gone".to_owned(), 401),
        (route, is_new, 401),
    ] {
        let [applied, waiting] = gate.reload(|text| with(text, routes)).await;
        assert_eq!((applied, waiting), (vec![expected], Vec::new()));
        assert_eq!(stranger.clone().open("/docs").await.status, status, "{routes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_holds_for_those_who_are_signed_in_already() {
    let gate = Gate::with(|text| with(&text, "allow = { groups = ['ops'] }")).await;
    let mut root = gate.signed_in("root@example.com").await;
    assert_eq!(root.open("/").await.status, StatusCode::OK);
    let [applied, _] = gate.reload(|text| text.replace("'ops'", "'dev'")).await;
    assert_eq!(applied, ["route localhost/ loses group ops", "route localhost/ gains group dev"]);
    assert_eq!(root.open("/").await.status, StatusCode::FORBIDDEN);
    let [applied, _] = gate.reload(|text| text.replace("'ops'", "'dev', 'ops'")).await;
    assert_eq!(applied, ["route localhost/ gains group ops"]);
    assert_eq!(root.open("/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_sign_in_no_longer_is_signed_out() {
    let gate = Gate::start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let allow = |list: &str| format!("[sign_in]\nallow = [{list}]\n[[route]]");
    gate.reload(|text| text.replace("[[route]]", &allow("'@example.org'"))).await;
    assert!(ada.is_known_as(&gate, None).await);
    gate.reload(str::to_owned).await;
    assert!(ada.is_known_as(&gate, Some("ada@example.com")).await, "nothing was thrown away");
    assert_eq!(ada.open("/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_headers_theme_and_limits_change() {
    let gate = Gate::start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let other = Recorder::start().await;
    let recorder = gate.recorder.address.to_string();
    gate.reload(|text| text.replace(&recorder, &other.address.to_string())).await;
    assert_eq!(ada.open("/").await.status, StatusCode::OK);
    assert_eq!((gate.recorder.requests().len(), other.requests().len()), (0, 1));

    let [applied, _] = gate.reload(|text| format!("{text}[identity_headers]\npreset = \"remote-user\"\n")).await;
    assert!(
        applied.contains(&"identity_headers.preset changes from x-forwarded to remote-user".to_owned()),
        "{applied:?}"
    );
    ada.open("/").await;
    let seen = gate.recorder.last();
    assert_eq!(seen.values("remote-email"), ["ada@example.com"]);
    assert!(seen.values("x-forwarded-email").is_empty(), "{seen:?}");

    gate.reload(|text| format!("{text}[theme]\nname = \"Another Wiki\"\n[limits]\ntarget_bytes = 64\n")).await;
    let page = gate.visitor().open("/.linkgate/sign-in").await;
    assert!(page.body.contains("Another Wiki"), "{}", page.body);
    assert_eq!(ada.open(&format!("/{}", "x".repeat(80))).await.status, StatusCode::URI_TOO_LONG);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_comes_when_a_route_wants_it() {
    let gate = Gate::start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    for _ in 0..2 {
        gate.reload(|text| with_routes(text, "[[route]]\nupstream = \"demo\"\n")).await;
        assert_eq!(ada.open("/").await.heading(), "Hello, ada@example.com");
        gate.reload(str::to_owned).await;
        assert_eq!(ada.open("/").await.body, "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_order_changes_nothing_and_health_and_metrics_say_so() {
    let gate = Gate::start().await;
    let was_successful = async || {
        let metrics = gate.admin("/metrics").await.body;
        let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        assert_eq!(metrics.matches("\nlinkgate_config_info{").count(), 1);
        (value("linkgate_config_last_reload_successful ").unwrap(), value("linkgate_config_info{").unwrap())
    };
    let (successful, hash) = was_successful().await;
    assert_eq!(successful, "1");
    let broken = |text: &str| with(text, "[[route]]\npath = \"/open\"\nupstream = UPSTREAM\naccess = \"pubic\"\n");
    let Err(NotReloaded::Problems(problems)) = gate.try_reload(broken).await else { panic!("it is refused") };
    assert!(problems.to_string().contains("route[1].access"), "{problems}");
    assert_eq!(was_successful().await, ("0".to_owned(), hash.clone()));
    let ready = gate.admin("/health/ready").await;
    assert_eq!(ready.status, StatusCode::OK);
    assert!(ready.json()["warnings"][0].as_str().unwrap().starts_with("configuration: "), "{ready:?}");
    assert_eq!(gate.visitor().program().open("/open").await.status, StatusCode::UNAUTHORIZED);

    gate.reload(|text| broken(text).replace("pubic", "public")).await;
    let (successful, other) = was_successful().await;
    assert!(successful == "1" && other != hash);
    assert!(gate.admin("/health/ready").await.json().get("warnings").is_none());
    assert_eq!(gate.visitor().program().open("/open").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_configuration_changes_nothing() {
    let gate = Gate::start().await;
    assert_eq!(gate.reload(str::to_owned).await, [const { Vec::<String>::new() }; 2]);
    assert_eq!(gate.reload(|text| format!("# A remark.\n{text}")).await, [const { Vec::<String>::new() }; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_waits_and_the_rest_does_not() {
    let gate = Gate::start().await;
    let [applied, waiting] = gate
        .reload(|text| {
            let text = text.replacen("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"\nthreads = 9", 1);
            let text = text.replace("[issuer]", "[issuer]\nkey_lifetime = \"9d\"");
            format!("{text}access = \"public\"\nwhole_site = true\n[log]\nformat = \"json\"\n")
        })
        .await;
    assert_eq!(applied, ["route localhost/ becomes public", "route localhost/ changes whole_site from false to true"]);
    let expected = [
        "issuer.key_lifetime changes from 30d to 9d",
        "listen changes from 127.0.0.1:0 to 127.0.0.1:1",
        "log.format changes from auto to json",
        "threads is now 9",
    ];
    assert_eq!(waiting, expected);
    assert_eq!(gate.visitor().program().open("/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_was_begun_is_finished_and_ends_as_before() {
    let gate = Gate::start().await;
    let (mut ada, callback) = gate.asked("ada@example.com", "/wanted").await;
    let change = |text: &str| {
        let text = text.replace("[session]", "[session]\nlifetime = \"2d\"");
        format!("{text}[identity_headers]\npreset = \"remote-user\"\n")
    };
    gate.reload(change).await;
    let landed = ada.open(&callback).await;
    assert!(landed.gives_session(), "{landed:?}");
    assert_eq!(landed.location(), "/wanted");

    gate.reload(str::to_owned).await;
    assert_eq!(ada.open("/wanted").await.status, StatusCode::OK);
    let csrf = ada.open("/.linkgate/sign-out").await.field("csrf");
    let before = ada.clone();
    ada.post("/.linkgate/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(before.program().open("/").await.status, StatusCode::UNAUTHORIZED);
    gate.reload(change).await;
    assert_eq!(before.program().open("/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_request_ends_when_its_visitor_may_not_pass_any_more() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = format!("[[route]]\npath = \"/slow\"\nupstream = \"http://{}\"\n", upstream.local_addr().unwrap());
    let gate = Gate::with(|text| with(&text, &route)).await;
    let ada = gate.signed_in("ada@example.com").await;
    let ask = async || {
        let mut wire = gate.wire().await;
        wire.send(format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={}\r\n\r\n", ada.session_cookie()))
            .await;
        let mut application = Wire::accept(&upstream).await;
        application.head().await;
        (wire, application)
    };
    let (mut kept, mut application) = ask().await;
    gate.reload(|text| text.replace(&route, &format!("{route}response_timeout = \"50s\"\n"))).await;
    application.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nkept").await;
    assert_eq!(kept.answer().await.body, "kept");

    let (mut ended, _application) = ask().await;
    gate.reload(|text| text.replace(&route, &format!("{route}allow = {{ groups = ['ops'] }}\n"))).await;
    assert_eq!(ended.rest().await, "", "the connection is closed");
}

/// Requests that are held by their application while the configuration changes again and again.
const HELD: usize = 200;
const RELOADS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_lose_no_request_and_give_no_wrong_verdict() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("[[route]]\npath = \"/slow\"\nupstream = \"http://{}\"\n", upstream.local_addr().unwrap());
    let gate = Arc::new(Gate::with(|text| with(&text, &slow)).await);
    let ada = gate.signed_in("ada@example.com").await;
    let request = format!("GET /slow HTTP/1.1\r\nHost: {HOST}\r\nCookie: linkgate={}\r\n\r\n", ada.session_cookie());
    let mut held = Vec::new();
    for _ in 0..HELD {
        let mut wire = gate.wire().await;
        wire.send(&request).await;
        let mut application = Wire::accept(&upstream).await;
        assert!(application.head().await.starts_with("GET /slow HTTP"));
        held.push((wire, application));
    }

    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let ask = |program: Visitor, path: &'static str, expected: u16| {
        let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(program.clone().open(path).await.status, expected, "{path}");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    // These routes are the same all the time, whatever else becomes of the configuration.
    let load = [
        ask(ada.program(), "/", 200),
        ask(gate.visitor().program(), "/", 401),
        ask(ada.program(), "/.linkgate/session", 200),
    ];
    for round in 0..RELOADS {
        let before = asked.load(Ordering::Relaxed);
        let is_open = round % 2 == 0;
        let access = if is_open { "access = \"public\"\n" } else { "" };
        let preset = ["x-forwarded", "remote-user"][round / 2 % 2];
        let settings = format!("[identity_headers]\npreset = \"{preset}\"\n[limits]\nheader_fields = {}\n", 90 + round);
        let upstream = gate.recorder.address;
        let changing = format!("[[route]]\npath = \"/changing\"\nupstream = \"http://{upstream}\"\n{access}{settings}");
        gate.reload(|text| format!("{text}{changing}")).await;
        let expected = if is_open { 200 } else { 401 };
        assert_eq!(gate.visitor().program().open("/changing").await.status, expected, "round {round}");
        assert_eq!(ada.program().open("/changing").await.status, 200, "round {round}");
        eventually(async || asked.load(Ordering::Relaxed) >= before + 3).await;
    }
    done.store(true, Ordering::Relaxed);
    for load in load {
        load.await.expect("every verdict was right");
    }
    for (mut wire, mut application) in held {
        application.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "done"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_part_has_learned_outlives_a_reload_that_leaves_it_alone() {
    let folder = Home::with("");
    folder.write("secret", CLIENT_SECRET);
    let secret = folder.path().join("secret");
    let stand_in = StandIn::start().await;
    let named = |text: String| {
        let (head, rest) = text.split_once("client_secret_file = \"").unwrap();
        format!("{head}client_secret_file = \"{}{}", secret.display(), &rest[rest.find('"').unwrap()..])
    };
    let gate = stand_in.gate_on(stand_in.memory(), named).await;
    let ada = stand_in.signed_in(&gate).await;
    let tokens = stand_in.count(TOKEN);
    let change =
        |text: &str| text.replace("[session]", "[theme]\nname = \"Another Wiki\"\n[session]\nlifetime = \"1d\"");
    gate.reload(change).await;
    stand_in.asked(&gate).await;
    assert_eq!(stand_in.count(TOKEN), tokens, "the client's token was kept");

    folder.write("secret", "another-secret-of-the-client-at-mosaic");
    let [applied, waiting] = gate.reload(str::to_owned).await;
    assert!(applied.contains(&"the content of mosaic.client_secret_file changed".to_owned()), "{applied:?}");
    assert_eq!(waiting, [""; 0]);
    let is_shown = || stand_in.calls_to(TOKEN).iter().any(|call| call.body.contains("another-secret-of-the-client"));
    eventually(async || is_shown()).await;
    assert!(ada.is_known_as(&gate, Some(ADA)).await);
}
