//! What other proxies are told about the requests that they forward themselves.

use http::{Method, StatusCode};

use crate::harness::{Answer, Gate, HOST, Visitor, with_routes};

const ROUTES: &str = "[[route]]\npath = '/page'\nupstream = 'front-proxy'\n\
    [[route]]\npath = '/admin'\nupstream = 'front-proxy'\nallow = { roles = ['admin'] }\n\
    [[route]]\npath = '/free'\nupstream = 'front-proxy'\naccess = 'public'\n\
    [[route]]\npath = '/read'\nupstream = 'front-proxy'\nmethods = ['GET']\n\
    [[route]]\npath = '/near'\nupstream = 'front-proxy'\nallow = { networks = ['192.0.2.0/24'] }\n\
    [[route]]\npath = '/own'\nupstream = UPSTREAM\n";

async fn gate() -> Gate {
    Gate::with(|text| format!("trusted_proxies = ['127.0.0.0/8']\n{}", with_routes(&text, ROUTES))).await
}

/// Asks about a request, as nginx, Traefik and Caddy do. `visitor` is what it is asked in the name of.
async fn ask(visitor: &Visitor, target: &str, method: &str, uri: &str, fields: &[(&str, &str)]) -> Answer {
    let said = [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
    visitor.program().send(Method::GET, target, &[&said[..], fields].concat(), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_learns_who_the_visitor_is() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let forged =
        [("x-forwarded-email", "root@example.com"), ("x_forwarded_user", "root"), ("x-forwarded-roles", "admin")];
    let answer = ask(&ada, "/.linkgate/auth", "GET", "/page?x=1", &forged).await;
    assert_eq!((answer.status, answer.header("x-forwarded-email")), (StatusCode::OK, "ada@example.com"));
    assert!(!answer.headers.contains_key("x-forwarded-roles") && !answer.headers.contains_key("x_forwarded_user"));
    for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "set-cookie"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    assert_eq!(gate.recorder.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cookies_for_the_upstream_are_without_the_gateways_own() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let cookie = format!("theme=dark; linkgate={}; lang=en", ada.session_cookie());
    let answer = ask(&gate.visitor(), "/.linkgate/auth", "GET", "/page", &[("cookie", cookie.as_str())]).await;
    assert_eq!((answer.status, answer.header("x-linkgate-cookie")), (StatusCode::OK, "theme=dark; lang=en"));
    assert_eq!(answer.header("cookie"), "theme=dark; lang=en", "Traefik takes it under this name");
    let answer = ask(&ada, "/.linkgate/auth", "GET", "/page", &[]).await;
    assert!(!answer.headers.contains_key("x-linkgate-cookie") && !answer.headers.contains_key("cookie"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_gets_the_answer_that_the_gateway_itself_would_give() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let nobody = gate.visitor();
    let page = [("accept", "text/html")];
    let answer = ask(&nobody, "/.linkgate/auth", "GET", "/page?x=1", &page).await;
    let sign_in = format!("http://{HOST}/.linkgate/sign-in?return_to=%2Fpage%3Fx%3D1");
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, sign_in.as_str()));
    let answer = ask(&nobody, "/.linkgate/auth", "POST", "/page", &page).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (StatusCode::UNAUTHORIZED, Some("sign_in_required")));
    for (visitor, method, uri, status) in [
        (&nobody, "GET", "/free/x", 200),
        (&ada, "GET", "/admin", 403),
        (&ada, "GET", "/%61dmin", 403),
        (&ada, "GET", "/free/../admin", 400),
        (&ada, "GET", "/free/%2e%2e%2fadmin", 400),
        (&ada, "GET", "/nowhere", 404),
        (&ada, "POST", "/read", 405),
        (&ada, "GET", "/near", 403),
        // The visitor's own question is served by the portal, whoever forwards it.
        (&nobody, "GET", "/.linkgate/sign-in", 200),
        (&nobody, "GET", "/.LINKGATE/sign-in", 404),
    ] {
        let answer = ask(visitor, "/.linkgate/auth", method, uri, &[]).await;
        assert_eq!(answer.status, status, "{method} {uri}");
    }
    let near = ask(&ada, "/.linkgate/auth", "GET", "/near", &[("x-forwarded-for", "192.0.2.7")]).await;
    assert_eq!(near.status, 200);
    let elsewhere = ask(&ada, "/.linkgate/auth", "GET", "/", &[("x-forwarded-host", "evil.test")]).await;
    assert_eq!(elsewhere.status, 421);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_gets_no_more_than_200_401_and_403() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let page = [("accept", "text/html")];
    for (visitor, method, uri, status) in [
        (&gate.visitor(), "GET", "/page", 401),
        (&gate.visitor(), "POST", "/page", 401),
        (&ada, "GET", "/page", 200),
        (&ada, "GET", "/admin", 403),
        (&ada, "POST", "/read", 403),
        (&ada, "GET", "/%00", 403),
    ] {
        let answer = ask(visitor, "/.linkgate/auth?verdict=1", method, uri, &page).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, ""), "{method} {uri}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_repeats_the_request_below_the_path() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let check = async |visitor: &Visitor, method: Method, target: &str, status: u16| {
        let answer = visitor.program().send(method, target, &[("x-forwarded-uri", "/free")], "").await;
        assert_eq!(answer.status, status, "{target}");
    };
    check(&ada, Method::GET, "/.linkgate/auth/page", 200).await;
    check(&ada, Method::DELETE, "/.linkgate/auth/page?x=1", 200).await;
    check(&ada, Method::GET, "/.linkgate/auth/admin", 403).await;
    check(&ada, Method::GET, "/.linkgate/auth/free/../admin", 400).await;
    check(&ada, Method::POST, "/.linkgate/auth/read", 405).await;
    check(&gate.visitor(), Method::GET, "/.linkgate/auth/page", 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_configured_proxies_may_ask() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let ada = gate.signed_in("ada@example.com").await;
    for target in ["/.linkgate/auth", "/.linkgate/auth?verdict=1", "/.linkgate/auth/page"] {
        let answer = ask(&ada, target, "GET", "/", &[]).await;
        assert_eq!(
            (answer.status, answer.body.contains("untrusted_peer")),
            (StatusCode::FORBIDDEN, !target.contains("verdict"))
        );
        assert!(!answer.headers.contains_key("x-forwarded-email"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_about_nothing_says_what_is_missing() {
    let gate = gate().await;
    let answer = gate.visitor().program().open("/.linkgate/auth").await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (StatusCode::BAD_REQUEST, Some("nothing_asked")));
    let twice = [("x-forwarded-uri", "/free"), ("x-forwarded-uri", "/admin")];
    let answer = gate.visitor().program().send(Method::GET, "/.linkgate/auth", &twice, "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_of_another_sites_page_is_refused() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    let handshake = [("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="), ("sec-websocket-version", "13")];
    let ours = format!("http://{HOST}");
    for (origin, status) in [(ours.as_str(), 200), ("https://evil.test", 403)] {
        // Envoy says of its own question that it has no body.
        let fields = [&handshake[..], &[("origin", origin), ("content-length", "0")]].concat();
        assert_eq!(ask(&ada, "/.linkgate/auth", "GET", "/page", &fields).await.status, status, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_proxy_forwards_is_not_there_beside_it() {
    let gate = gate().await;
    let ada = gate.signed_in("ada@example.com").await;
    assert_eq!(ada.program().open("/page").await.status, 404);
    assert_eq!(ada.program().open("/own/page").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_is_refused() {
    let gate = gate().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let cookie = format!("linkgate={}", ada.session_cookie());
    let page = ada.open("/.linkgate/sign-out").await;
    ada.post("/.linkgate/sign-out", &[("csrf", &page.field("csrf"))]).await;
    let answer = ask(&gate.visitor(), "/.linkgate/auth", "GET", "/page", &[("cookie", cookie.as_str())]).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_of_oauth2_proxy_lead_to_ours() {
    let on = |text: String| format!("trusted_proxies = ['127.0.0.0/8']\noauth2_proxy_paths = true\n{text}");
    let gate = Gate::with(on).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    for (path, location) in [
        ("/oauth2/start?rd=%2Fpage%3Fx", "/.linkgate/sign-in?return_to=%2Fpage%3Fx"),
        ("/oauth2/sign_in?rd=https%3A%2F%2Fevil.test%2F", "/.linkgate/sign-in?return_to=%2F"),
        ("/oauth2/sign_out?rd=%2Fbye", "/.linkgate/sign-out?return_to=%2Fbye"),
    ] {
        assert_eq!(ada.open(path).await.location(), location);
    }
    assert_eq!(ada.open("/oauth2/userinfo").await.json()["preferredUsername"], "ada@example.com");
    assert_eq!(gate.visitor().program().open("/oauth2/userinfo").await.status, 401);
    let answer = ada.program().open("/oauth2/auth").await;
    assert_eq!((answer.status, answer.header("x-forwarded-email")), (StatusCode::ACCEPTED, "ada@example.com"));
    assert_eq!(gate.visitor().program().open("/oauth2/auth").await.status, 401);
    // Other paths below it are the application's.
    assert_eq!(ada.program().open("/oauth2/authorize").await.status, 200);
    assert_eq!(gate.recorder.only().line(), "GET /oauth2/authorize HTTP/1.1");
    let gate = Gate::start().await;
    let ada = gate.signed_in("ada@example.com").await;
    assert_eq!(ada.program().open("/oauth2/auth").await.status, 200);
    assert_eq!(gate.recorder.only().line(), "GET /oauth2/auth HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_given_the_signed_assertion_to_pass_on() {
    let route = "[[route]]\nupstream = 'front-proxy'\nassertion = true\n";
    let gate = Gate::with(|text| format!("trusted_proxies = ['127.0.0.0/8']\n{}", with_routes(&text, route))).await;
    let ada = gate.signed_in("ada@example.com").await;
    let forged = [("x-linkgate-assertion", "forged"), ("cf-access-jwt-assertion", "forged")];
    let answer = ask(&ada, "/.linkgate/auth", "GET", "/page", &forged).await;
    assert_eq!(answer.header("x-linkgate-assertion").split('.').count(), 3);
    assert!(!answer.headers.contains_key("cf-access-jwt-assertion"));
}

/// Whoever asks takes every success for leave, so no refusal may be one: not those of gRPC, which are 200 with a status of
/// their own, and not the answers to preflights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refusal_looks_like_leave() {
    let routes = ROUTES.to_owned() + "[[route]]\npath = '/cors'\nupstream = UPSTREAM\n[route.cors]\norigins = ['*']\n";
    let trusted = Gate::with(|text| {
        let on = "trusted_proxies = ['127.0.0.0/8']\noauth2_proxy_paths = true\n";
        format!("{on}{}", with_routes(&text, &routes))
    });
    let (trusted, stranger) = (trusted.await, Gate::with(|text| with_routes(&text, &routes)).await);
    let ada = trusted.signed_in("ada@example.com").await;
    let call = ("content-type", "application/grpc");
    let said = |uri| [("x-forwarded-uri", uri), call];
    let preflight = [
        ("x-forwarded-uri", "/cors"),
        ("x-forwarded-method", "OPTIONS"),
        ("origin", "https://app2.example.com"),
        ("access-control-request-method", "GET"),
    ];
    for (visitor, target, fields, status) in [
        (&trusted.visitor(), "/.linkgate/auth", &said("/page")[..], 401),
        (&trusted.visitor(), "/.linkgate/auth?verdict=1", &said("/page"), 401),
        (&trusted.visitor(), "/.linkgate/auth/page", &[call], 401),
        (&trusted.visitor(), "/oauth2/auth", &said("/page"), 401),
        (&ada, "/.linkgate/auth", &said("/admin"), 403),
        (&ada, "/.linkgate/auth?verdict=1", &said("/admin"), 403),
        (&ada, "/.linkgate/auth", &said("/nowhere"), 403),
        (&ada, "/.linkgate/auth", &[call], 403),
        (&ada, "/.linkgate/auth?verdict=1", &[], 403),
        (&stranger.visitor(), "/.linkgate/auth", &said("/page"), 403),
        (&stranger.visitor(), "/.linkgate/auth?verdict=1", &said("/free"), 403),
        (&trusted.visitor(), "/.linkgate/auth", &preflight, 403),
        (&trusted.visitor(), "/.linkgate/auth?verdict=1", &preflight, 403),
    ] {
        let answer = visitor.program().send(Method::GET, target, fields, "").await;
        assert_eq!(answer.status, status, "{target} {fields:?}: {answer:?}");
    }
}
