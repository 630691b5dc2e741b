//! The development mailbox: newest first, bounded, harmless to look at, and absent unless asked for.

use super::*;

impl World {
    async fn mail(&self, email: &str, subject: &str) {
        let content = json!({ "subject": subject, "bodyText": "<script>alert(1)</script>", "linkText": "Go" });
        let call = json!({ "email": email, "redirect_uri": REDIRECT_URI, "email_content": content });
        self.post(SEND, &call).await.expect(200);
    }

    async fn mailbox(&self, path: &str) -> Answer {
        self.page(Method::GET, &format!("/.linkgate/mailbox{path}"), "").await
    }
}

#[tokio::test]
async fn the_latest_mail_is_told_to_tests() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob+x@example.com" })).await.expect(201);
    world.send_link().await;
    world.mail("bob+x@example.com", "For Bob").await;
    let latest = world.latest("Ada@example.com").await.expect(200).json();
    let mut members: Vec<_> = latest.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "html", "link", "subject", "text", "to"]);
    assert_eq!(latest["to"], json!("ada@example.com"));
    let code = latest["code"].as_str().unwrap();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    assert_eq!(latest["subject"], "Sign in to Acme (10:20 UTC)");
    for part in ["text", "html"] {
        assert!(latest[part].as_str().unwrap().contains(latest["link"].as_str().unwrap()), "{part}");
    }
    for spelling in ["bob%2Bx@example.com", "bob+x@example.com"] {
        assert_eq!(world.latest(spelling).await.expect(200).text("subject"), "For Bob");
    }
    let none = json!({ "error": "not_found", "message": "There is no mail to this address" });
    world.latest("eve@example.com").await.refuses(404, &none);
    for query in ["", "?to=", "?to=ada", "?x=1"] {
        assert_eq!(world.mailbox(&format!("/latest{query}")).await.expect(400).text("error"), "bad_request");
    }
}

#[tokio::test]
async fn the_page_shows_the_newest_mail_first() {
    let world = World::new().await;
    let empty = world.mailbox("").await.expect(200).body;
    assert!(empty.contains("<p data-empty>No mail yet") && empty.contains("Development mode"), "{empty}");
    world.mail("ada@example.com", "One").await;
    world.mail("ada@example.com", "<b>Two</b>").await;
    let page = world.mailbox("").await.expect(200).body;
    assert!(page.contains("Development mode") && page.contains(">Open link</a>"));
    let position = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    assert!(position("&lt;b&gt;Two&lt;/b&gt;") < position("One"));
    let link = world.latest("ada@example.com").await.text("link");
    assert!(page.contains(&format!("href=\"{link}\"")));
}

#[tokio::test]
async fn a_mail_is_shown_in_a_sandbox() {
    let world = World::new().await;
    world.mail("ada@example.com", "Hello").await;
    let page = world.mailbox("/000000000001").await.expect(200).body;
    assert!(page.contains("src=\"/.linkgate/mailbox/000000000001/html\" sandbox=\"allow-popups"), "{page}");
    assert!(page.contains("<h1>Hello</h1>") && !page.contains("<script>"));
    let source = world.mailbox("/000000000001?view=source").await.expect(200).body;
    assert!(source.contains("&amp;lt;script&amp;gt;") && !source.contains("<script>"), "{source}");
    let mail = world.mailbox("/000000000001/html").await.expect(200);
    let policy = mail.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';") && policy.contains("sandbox allow-popups"), "{policy}");
    assert!(!policy.contains("allow-scripts") && !policy.contains("allow-same-origin"), "{policy}");
    assert!(mail.body.contains("<head><base target=\"_blank\">") && !mail.body.contains("<script"), "{}", mail.body);
    assert!(world.mailbox("/000000000002").await.expect(404).body.contains("There is no such mail"));
    world.mailbox("/000000000002/html").await.expect(404);
}

#[tokio::test]
async fn a_mail_has_four_views_each_behind_a_link() {
    let world = World::new().await;
    world.mail("ada@example.com", "Hello").await;
    let frame = "<iframe class=\"mail\" ";
    let views = [
        ("html", frame),
        ("phone", "<iframe class=\"mail phone\" "),
        ("text", "<pre>&lt;script&gt;alert(1)&lt;/script&gt;\n"),
        ("source", "<pre>&lt;!doctype html&gt;"),
    ];
    for (view, shown) in views {
        let page = world.mailbox(&format!("/000000000001?view={view}")).await.expect(200).body;
        assert_eq!(page.matches("aria-current=\"page\"").count(), 1, "{page}");
        assert!(page.contains(&format!("<a href=\"?view={view}\" aria-current=\"page\">")), "{page}");
        for (other, part) in views {
            assert_eq!(page.contains(part), part == shown, "{other} in {view}: {page}");
        }
        let link = world.latest("ada@example.com").await.text("link");
        assert!(
            page.contains(&format!("href=\"{link}\"")) && page.contains(&format!("data-copy=\"{link}\"")),
            "{page}"
        );
    }
    for query in ["", "?view=", "?view=nowhere", "?x=text"] {
        let page = world.mailbox(&format!("/000000000001{query}")).await.expect(200).body;
        let usual = "<a href=\"?view=html\" aria-current=\"page\">";
        assert!(page.contains(frame) && page.contains(usual), "{query}: {page}");
    }
}

#[tokio::test]
async fn a_hundred_mails_are_kept_for_a_day() {
    let world = World::new().await;
    for number in 0..105 {
        world.mail("ada@example.com", &format!("Mail {number}.")).await;
    }
    let page = world.mailbox("").await.expect(200).body;
    assert_eq!(page.matches(">Open link</a>").count(), 100);
    assert!(page.contains("Mail 104.") && page.contains("Mail 5.") && !page.contains("Mail 4."));
    world.mailbox("/000000000005").await.expect(404);
    world.clock.advance(Duration::from_secs(86_400));
    assert!(world.mailbox("").await.expect(200).body.contains("<p data-empty>No mail yet"));
    world.latest("ada@example.com").await.expect(404);
}

#[tokio::test]
async fn other_programs_are_refused_while_sending_fails() {
    let world = World::new().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let choose = async |sending: &str| {
        run(world.issuer.pages(), Method::POST, "/.linkgate/mailbox/sending", &form, &format!("sending={sending}"))
            .await
    };
    choose("fails").await.expect(303);
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI });
    let unsent = json!({ "message": "Email could not be sent", "error_code": "503" });
    world.post(SEND, &call).await.refuses(503, &unsent);
    world.latest("ada@example.com").await.expect(404);
    choose("works").await.expect(303);
    world.post(SEND, &call).await.expect(200);
    world.latest("ada@example.com").await.expect(200);
}

#[tokio::test]
async fn without_the_mailbox_no_mail_can_be_read_and_none_is_sent() {
    let world = World::with(Config { mailbox: false, ..config() }, settings()).await;
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI });
    let unsent = json!({ "message": "Email could not be sent", "error_code": "503" });
    world.post(SEND, &call).await.refuses(503, &unsent);
    for path in
        ["", "/latest?to=ada@example.com", "/1/html", "/sending"].map(|path| format!("/.linkgate/mailbox{path}"))
    {
        let request = Request::builder().uri(&path).body(Body::empty()).unwrap();
        assert_eq!(world.issuer.pages().oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
}
