//! What the application is told about the visitor and the connection: by the gateway alone, whatever is sent.

use std::collections::BTreeMap;

use http::Method;

use crate::harness::{Gate, HOST, Visitor, with_routes};
use crate::recorder::Recorded;

/// One gate with each kind of access.
const ROUTES: &str = r#"
[[route]]
upstream = UPSTREAM
[[route]]
path = "/open"
access = "public"
upstream = UPSTREAM
[[route]]
path = "/maybe"
access = "optional"
upstream = UPSTREAM
"#;

/// Every identity header and what else is the gateway's to say, in the spellings that servers take for the same.
const FORGED: [&str; 26] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "x-forwarded-email",
    "X-FORWARDED-EMAIL",
    "X_Forwarded_Email",
    "X-Forwarded_Email",
    "X.Forwarded.Email",
    "X!Forwarded~Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Roles",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Anything",
    "X-Forwarded-Server",
    "Remote-User",
    "Remote_User",
    "Remote-Email",
    "Remote-Groups",
    "X-Auth-Request-User",
    "X-Auth-Request-Redirect",
    "X-Linkgate-Assertion",
    "X-Real-IP",
    "Forwarded",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Proxy",
    "Any_Underscore",
];

/// The headers of `families`, by name, each with all its values.
fn told<'r>(request: &'r Recorded, families: &[&str]) -> BTreeMap<String, Vec<&'r str>> {
    let names = request.names().into_iter().filter(|name| families.iter().any(|family| name.starts_with(family)));
    names.map(|name| (name.clone(), request.values(&name))).collect()
}

fn expected<'r>(fields: &[(&str, &'r str)]) -> BTreeMap<String, Vec<&'r str>> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), vec![*value])).collect()
}

/// The subject of somebody who is signed in.
async fn subject(visitor: &Visitor) -> String {
    let session = visitor.program().open("/.linkgate/session").await;
    session.json()["subject"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_identity_never_arrives_on_any_route() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let root = gate.signed_in("root@example.com").await;
    let subject = subject(&root).await;
    let connection = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", HOST), ("x-forwarded-proto", "http")];
    let identity = [
        ("x-forwarded-user", subject.as_str()),
        ("x-forwarded-email", "root@example.com"),
        ("x-forwarded-groups", "ops,on%2C call"),
        ("x-forwarded-roles", "admin"),
        ("x-forwarded-preferred-username", "root@example.com"),
    ];
    let known = [&connection[..], &identity].concat();
    for (visitor, path, fields) in [
        (&root, "/page", &known[..]),
        (&root, "/maybe", &known),
        (&root, "/open", &connection),
        (&gate.visitor(), "/maybe", &connection),
        (&gate.visitor(), "/open", &connection),
    ] {
        for nominated in
            [&[][..], &["close, x-forwarded-email, x-forwarded-user"], &["x-forwarded-groups", "x-real-ip"]]
        {
            let doubled = FORGED.iter().flat_map(|name| [(*name, "forged"), (*name, "forged, twice")]);
            let nominated = nominated.iter().map(|value| ("Connection", *value));
            let sent: Vec<_> = doubled.chain(nominated).collect();
            let answer = visitor.clone().send(Method::GET, path, &sent, "").await;
            assert_eq!(answer.body, "hello", "{path}: {answer:?}");
            let seen = gate.recorder.last();
            assert!(!seen.head.contains("forged"), "{path}: {}", seen.head);
            assert_eq!(told(&seen, &["x-forwarded", "remote", "x-auth"]), expected(fields), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_visitor_lacks_is_not_taken_from_them() {
    let gate = Gate::start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let sent = [("X-Forwarded-Groups", "ops"), ("X-Forwarded-Roles", "admin")];
    ada.send(Method::GET, "/", &sent, "").await;
    let seen = gate.recorder.only();
    assert_eq!(seen.values("x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(told(&seen, &["x-forwarded-groups", "x-forwarded-roles"]), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_goes_out_under_the_names_that_are_configured() {
    for (setting, names) in [
        (
            "preset = 'remote-user'",
            &[
                ("remote-user", "root@example.com"),
                ("remote-email", "root@example.com"),
                ("remote-name", "Rita Root"),
                ("remote-groups", "ops,on%2C call"),
            ][..],
        ),
        (
            "preset = 'x-auth-request'",
            &[
                ("x-auth-request-user", "SUBJECT"),
                ("x-auth-request-email", "root@example.com"),
                ("x-auth-request-groups", "ops,on%2C call"),
                ("x-auth-request-preferred-username", "root@example.com"),
            ],
        ),
        (
            "preset = 'remote-user'\nnames = { user = 'X-Person', email = '', name = '', groups = 'Remote-Team' }",
            &[("remote-user", "root@example.com"), ("x-person", "SUBJECT"), ("remote-team", "ops,on%2C call")],
        ),
    ] {
        let gate = Gate::with(|text| format!("{text}[identity_headers]\n{setting}\n")).await;
        let mut root = gate.signed_in("root@example.com").await;
        let subject = subject(&root).await;
        let forged = ["Remote-User", "Remote-Email", "X-Auth-Request-User", "X-Forwarded-User", "X_Person", "X.Person"];
        let forged = forged.into_iter().chain(names.iter().map(|(name, _)| *name));
        let forged: Vec<_> = forged.map(|name| (name, "forged")).collect();
        root.send(Method::GET, "/", &forged, "").await;
        let names: Vec<_> =
            names.iter().map(|(name, value)| (*name, if *value == "SUBJECT" { &*subject } else { value })).collect();
        let seen = gate.recorder.only();
        let families = ["remote", "x-auth-request", "x-person", "x-forwarded-user", "x-forwarded-email"];
        assert_eq!(told(&seen, &families), expected(&names), "{setting}");
        // Another name for the same is nobody's, unless it was configured.
        let as_person = seen.values("x.person");
        assert_eq!(as_person, if setting.contains("X-Person") { vec![] } else { vec!["forged"] }, "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_the_application_passes_and_what_belongs_to_the_connection_does_not() {
    let gate = Gate::start().await;
    let mut ada = gate.signed_in("ada@example.com").await;
    ada.fields.clear();
    let sent = [
        ("Authorization", "Bearer theirs"),
        ("X-Custom", "one"),
        ("X-Custom", "two"),
        ("Referer", "http://localhost:8080/a"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Keep-Alive", "timeout=300"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Connection", "Upgrade, HTTP2-Settings, X-Hop"),
        ("X-Hop", "x"),
    ];
    ada.send(Method::GET, "/", &sent, "").await;
    let seen = gate.recorder.only();
    assert_eq!(seen.values("x-custom"), ["one", "two"]);
    assert_eq!(seen.values("authorization"), ["Bearer theirs"]);
    assert_eq!(seen.values("x-forwarded-email"), ["ada@example.com"]);
    let mut names = seen.names();
    names.retain(|name| !name.starts_with("x-forwarded-"));
    names.sort();
    assert_eq!(names, ["authorization", "host", "referer", "x-custom", "x-custom", "x-request-id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_gets_the_host_in_its_one_spelling() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    for host in ["localhost:8080", "LocalHost:8080", "localhost.:8080", "localhost:08080"] {
        let mut visitor = gate.visitor();
        visitor.host = host.to_owned();
        assert_eq!(visitor.open("/open").await.body, "hello", "{host}");
        let seen = gate.recorder.last();
        assert_eq!((seen.values("host"), seen.values("x-forwarded-host")), (vec![HOST], vec![HOST]), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_trusted_proxy_says_where_a_request_came_from() {
    let stranger = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let trusted = "trusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]\n";
    let proxied = Gate::with(|text| format!("{trusted}{}", with_routes(&text, ROUTES))).await;
    for (lists, expected) in [
        (&[][..], "127.0.0.1"),
        (&["198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (&["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (&["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["::ffff:198.51.100.7"], "198.51.100.7"),
        (&["2001:DB8:0::1"], "2001:db8::1"),
        (&[""], "127.0.0.1"),
        (&["198.51.100.7:4711"], "127.0.0.1"),
    ] {
        let mut sent: Vec<_> = lists.iter().map(|list| ("X-Forwarded-For", *list)).collect();
        sent.extend([
            ("X-Forwarded-Host", "evil.test"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", "1"),
            ("Forwarded", "for=192.0.2.1;host=evil.test;proto=https"),
        ]);
        for (gate, expected) in [(&stranger, "127.0.0.1"), (&proxied, expected)] {
            gate.visitor().send(Method::GET, "/open", &sent, "").await;
            let seen = gate.recorder.last();
            let fields = [("x-forwarded-for", expected), ("x-forwarded-host", HOST), ("x-forwarded-proto", "http")];
            assert_eq!(told(&seen, &["x-forwarded", "forwarded"]), self::expected(&fields), "{lists:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_one_id_wherever_it_is_spoken_of() {
    let trusted = "trusted_proxies = [\"127.0.0.1/32\"]\n";
    let stranger = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let proxied = Gate::with(|text| format!("{trusted}{}", with_routes(&text, ROUTES))).await;
    // The application's own idea of it does not replace the gateway's.
    for gate in [&stranger, &proxied] {
        gate.recorder.answer_with("HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n");
    }
    for (gate, given, kept) in [
        (&stranger, "0123456789abcdef", false),
        (&proxied, "0123456789abcdef", true),
        (&proxied, "short", false),
        (&proxied, "with blanks and\tmore", false),
        (&proxied, "<script>alert(1)</script>", false),
    ] {
        let sent = [("X-Request-Id", given)];
        let passed = gate.visitor().send(Method::GET, "/open", &sent, "").await;
        let id = passed.header("x-request-id");
        assert_eq!(gate.recorder.last().values("x-request-id"), [id], "{given}");
        let refused = gate.visitor().program().send(Method::GET, "/closed", &sent, "").await;
        let other = refused.header("x-request-id");
        assert_eq!(refused.json()["request_id"], other, "{given}");
        assert_eq!((id == given, other == given), (kept, kept), "{given}");
        assert!(kept || id != other && id.len() == 22, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_one_connection_goes_no_further() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    for (name, value) in [
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic YTpi"),
        ("te", "trailers"),
        ("trailer", "X-Late"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
    ] {
        let mut wire = gate.wire().await;
        wire.send(format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\n{name}: {value}\r\nX-Kept: 1\r\n\r\n")).await;
        wire.answer().await;
        let last = gate.recorder.last();
        assert_eq!((last.values(name), last.values("x-kept")), (vec![], vec!["1"]), "{name}");
    }
    gate.raw(&format!("GET /open HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, X-Extra\r\nX-Extra: 1\r\n\r\n")).await;
    assert!(gate.recorder.last().values("x-extra").is_empty(), "it was named by `Connection`");
}
