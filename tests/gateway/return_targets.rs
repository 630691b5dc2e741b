//! Where a visitor goes on after signing in or out: always a page of this site, whatever was asked for.

use http::StatusCode;

use crate::harness::{Gate, parameter};

/// What a visitor may be sent to, and what becomes of it.
const TARGETS: [(&str, &str); 34] = [
    ("/", "/"),
    ("/any/page?x=1&y=a b#part", "/any/page?x=1&y=a%20b#part"),
    ("/é", "/%C3%A9"),
    ("http://localhost:8080/x?y", "/x?y"),
    ("/search?q=https://evil.test/", "/search?q=https://evil.test/"),
    ("/.linkgatex", "/.linkgatex"),
    ("", "/"),
    ("x", "/"),
    ("//evil.test", "/"),
    ("///evil.test", "/"),
    ("/\\evil.test", "/"),
    ("\\/evil.test", "/"),
    ("/\t/evil.test", "/"),
    ("/%09/evil.test", "/"),
    ("/%2f/evil.test", "/"),
    ("/%5cevil.test", "/"),
    ("/.//evil.test", "/"),
    ("/./\\evil.test", "/"),
    ("/x/..//evil.test", "/"),
    ("https://evil.test/", "/"),
    ("https:evil.test", "/"),
    ("https://localhost:8080/", "/"),
    ("http://localhost/", "/"),
    ("http://localhost:8081/", "/"),
    ("http://localhost.evil.test:8080/", "/"),
    ("http://localhost:8080@evil.test/", "/"),
    ("http://user@localhost:8080/", "/"),
    ("javascript:alert(1)", "/"),
    ("data:text/html,x", "/"),
    ("/%0d%0aset-cookie:x=1", "/"),
    ("/a\r\nlocation: https://evil.test", "/"),
    ("/.linkgate/sign-out", "/"),
    ("/.LINKGATE/callback?code=x", "/"),
    ("/x/../.linkgate/sign-out", "/"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_leads_to_a_page_of_this_site() {
    let gate = Gate::with(|configuration| configuration + "[sign_in]\nlinks_per_peer = 1000\n").await;
    for (number, (target, expected)) in TARGETS.into_iter().enumerate() {
        let mut visitor = gate.visitor();
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", target).finish();
        let page = visitor.open(&format!("/.linkgate/sign-in?{query}")).await;
        assert_eq!(page.field("return_to"), expected, "{target:?}");

        // Neither a page nor a script of ours stands between an attacker and the form.
        let address = format!("a{number}@example.com");
        let form = [("email", address.as_str()), ("csrf", &page.field("csrf")), ("return_to", target)];
        visitor.post("/.linkgate/sign-in", &form).await;
        let waiting = visitor.open("/.linkgate/sign-in/sent").await;
        assert_eq!(waiting.field("return_to"), expected, "{target:?}");
        let callback = visitor.press_link(&gate, &address).await + "&return_to=https://evil.test/";
        assert_eq!(visitor.open(&callback).await.location(), expected, "{target:?}");

        let signed_in = visitor.open(&format!("/.linkgate/sign-in?{query}")).await;
        assert_eq!(signed_in.heading(), "You're signed in");
        assert_eq!(signed_in.field("return_to"), expected, "{target:?}");
        let way_on = format!("class=\"button\" href=\"{}\"", expected.replace('&', "&amp;"));
        assert!(signed_in.body.contains(&way_on), "{target:?}: {}", signed_in.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_to_use_another_account_leads_to_a_page_of_this_site() {
    let gate = Gate::start().await;
    let visitor = gate.signed_in("ada@example.com").await;
    for (target, expected) in TARGETS {
        // Signed out after the first one; whoever is signed out is led on all the same.
        let mut visitor = visitor.clone();
        let csrf = visitor.open("/.linkgate/sign-out").await.field("csrf");
        let form = [("csrf", csrf.as_str()), ("then", "sign-in"), ("return_to", target)];
        let onward = visitor.post("/.linkgate/sign-out", &form).await;
        assert!(onward.location().starts_with("/.linkgate/sign-in?return_to="), "{target:?}: {onward:?}");
        assert_eq!(parameter(onward.location(), "return_to"), expected, "{target:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_first_asked_for_goes_through_the_same_rule() {
    let gate = Gate::start().await;
    for (target, expected) in [
        ("/a/b?x=1&y=%20z", "/a/b?x=1&y=%20z"),
        ("//evil.test/x", "/evil.test/x"),
        ("/a//b", "/a/b"),
        ("/%7Ebob", "/~bob"),
        ("/.linkgatex", "/.linkgatex"),
        ("/?return_to=https://evil.test/", "/?return_to=https://evil.test/"),
    ] {
        let led = gate.visitor().open(target).await;
        assert_eq!(parameter(led.location(), "return_to"), expected, "{target}");
        assert!(led.location().starts_with("/.linkgate/sign-in?return_to=%2F"), "{target}");
    }
    let long = format!("/{}", "x".repeat(3000));
    assert_eq!(gate.visitor().open(&long).await.location(), "/.linkgate/sign-in?return_to=%2F");
    for target in ["/%09/evil.test", "/%5cevil.test", "/..//evil.test", "/x/%2e%2e/y", "/%2f/evil.test"] {
        assert_eq!(gate.visitor().open(target).await.status, StatusCode::BAD_REQUEST, "{target}");
    }
}
