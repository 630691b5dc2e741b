//! Asking for a link: whose forms count, what they may say, and that the answer tells nothing about anybody.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::harness::{Answer, Gate, mail};

const SIGN_IN: &str = "/.linkgate/sign-in";
const SENT: &str = "/.linkgate/sign-in/sent";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_form_of_this_browsers_own_page_sends_a_link() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let others = gate.visitor().open(SIGN_IN).await.field("csrf");
    assert_ne!(csrf, others);
    let forged: [(&str, &[(&str, &str)]); 10] = [
        ("", &[]),
        ("x", &[]),
        (&others, &[]),
        (&csrf, &[("origin", "https://evil.test")]),
        (&csrf, &[("origin", "https://localhost:8080")]),
        (&csrf, &[("origin", "null")]),
        (&csrf, &[("sec-fetch-site", "cross-site")]),
        (&csrf, &[("sec-fetch-site", "cross-site"), ("origin", "null")]),
        (&csrf, &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")]),
        (&csrf, &[("sec-fetch-site", "none")]),
    ];
    for (csrf, fields) in forged {
        let body = format!("email=ada%40example.com&csrf={csrf}");
        let answer = visitor.send(Method::POST, SIGN_IN, &[&[FORM], fields].concat(), &body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{csrf:?} {fields:?}");
        // A page of ours that another tab made another's is shown anew, with what was typed.
        let expected = if fields.is_empty() { "Sign in to localhost" } else { "This page was open too long" };
        assert_eq!(answer.heading(), expected, "{csrf:?} {fields:?}");
        assert_eq!(answer.body.contains("value=\"ada@example.com\""), fields.is_empty(), "{}", answer.body);
    }
    let without_csrf = visitor.post(SIGN_IN, &[("email", "ada@example.com")]).await;
    assert_eq!(without_csrf.status, StatusCode::FORBIDDEN);
    assert_eq!((gate.counted("asked").await, gate.mails().await), (0, 0));

    let honest: [&[(&str, &str)]; 3] =
        [&[], &[("origin", "http://localhost:8080")], &[("sec-fetch-site", "same-origin"), ("origin", "null")]];
    for (number, fields) in honest.into_iter().enumerate() {
        let body = format!("email=ada{number}%40example.com&csrf={csrf}");
        let answer = visitor.send(Method::POST, SIGN_IN, &[&[FORM], fields].concat(), &body).await;
        assert_eq!(answer.location(), SENT, "{fields:?}");
    }
    assert_eq!(gate.mails().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_without_our_cookie_is_told_so() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let cookie = visitor.jar.remove("linkgate-browser").unwrap();
    let form = format!("email=ada%40example.com&csrf={csrf}");
    let two = format!("linkgate-browser={cookie}; linkgate-browser={cookie}");
    for cookies in ["", "linkgate-browser=short", &two] {
        let answer = visitor.send(Method::POST, SIGN_IN, &[FORM, ("cookie", cookies)], &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{cookies}");
        assert_eq!(answer.heading(), "Your browser isn't keeping our cookie", "{cookies}");
    }
    assert_eq!(gate.counted("asked").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_may_be_json() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let body = serde_json::json!({ "email": "ada@example.com", "csrf": csrf, "return_to": "/x#y" }).to_string();
    let kind = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(visitor.send(Method::POST, SIGN_IN, &kind, &body).await.location(), SENT);
    let callback = visitor.press_link(&gate, "ada@example.com").await;
    assert_eq!(visitor.open(&callback).await.location(), "/x#y");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_with_two_readings_or_none_is_refused() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let json = ("content-type", "application/json");
    let form = format!("email=ada%40example.com&csrf={csrf}");
    let long = |bytes: usize| format!("{form}&return_to={}", "x".repeat(bytes));
    let cases = [
        (FORM, format!("{form}&email=eve%40example.com"), 400),
        (FORM, format!("{form}&csrf={csrf}"), 400),
        (FORM, format!("{form}&return_to=/&return_to=/x"), 400),
        (json, format!(r#"{{"email":"a@example.com","email":"b@example.com","csrf":"{csrf}"}}"#), 400),
        (json, format!(r#"{{"email":["a@example.com"],"csrf":"{csrf}"}}"#), 400),
        (json, form.clone(), 400),
        (FORM, long(17 * 1024), 413),
        (FORM, long(70 * 1024), 413),
        (("content-type", "text/plain"), form.clone(), 415),
        (("content-type", "multipart/form-data; boundary=x"), form.clone(), 415),
        (("x-none", ""), form.clone(), 415),
    ];
    for (kind, body, status) in cases {
        let answer = visitor.send(Method::POST, SIGN_IN, &[kind], &body).await;
        assert_eq!(answer.status.as_u16(), status, "{kind:?} {body:.120}");
        assert_eq!(answer.header("cache-control"), "no-store", "{kind:?} {body:.120}");
        assert!(!answer.heading().is_empty(), "a person is told: {kind:?} {body:.120}");
        let answer = visitor.program().send(Method::POST, SIGN_IN, &[kind], &body).await;
        assert_eq!(answer.status.as_u16(), status, "{kind:?} {body:.120}");
        assert!(answer.json()["error"].is_string(), "a program is told: {kind:?} {body:.120}");
    }
    assert_eq!(gate.counted("asked").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_address_is_said_so_and_stays_as_it_was_typed() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let long = format!("{}@example.com", "a".repeat(65));
    let cases = [
        ("", ""),
        ("   ", "   "),
        ("ada", "ada"),
        ("ada@", "ada@"),
        ("@example.com", "@example.com"),
        ("ada@example", "ada@example"),
        ("ada@127.0.0.1", "ada@127.0.0.1"),
        ("ada@[127.0.0.1]", "ada@[127.0.0.1]"),
        ("ada@@example.com", "ada@@example.com"),
        ("ada@example.com@evil.test", "ada@example.com@evil.test"),
        ("ada@example.com,eve@evil.test", "ada@example.com,eve@evil.test"),
        ("ada@example.com;eve@evil.test", "ada@example.com;eve@evil.test"),
        ("ada@example.com eve@evil.test", "ada@example.com eve@evil.test"),
        ("ada@example.com\r\nbcc:eve@evil.test", "ada@example.com\r\nbcc:eve@evil.test"),
        ("ada@example.com\0", "ada@example.com\0"),
        ("a da@example.com", "a da@example.com"),
        (".ada@example.com", ".ada@example.com"),
        ("ada..b@example.com", "ada..b@example.com"),
        ("ada(x)@example.com", "ada(x)@example.com"),
        ("Ada <ada@example.com>", "Ada &lt;ada@example.com&gt;"),
        ("\"ada\"@example.com", "&quot;ada&quot;@example.com"),
        ("\"><script>alert(1)</script>@x.test", "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;@x.test"),
        ("zoë@example.com", "zoë@example.com"),
        ("ada@exa_mple.com", "ada@exa_mple.com"),
        (&long, &long),
    ];
    for (typed, shown) in cases {
        let answer = visitor.post(SIGN_IN, &[("email", typed), ("csrf", &csrf), ("return_to", "/x?y=1")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed:?}");
        assert!(answer.body.contains("<title>Error: Sign in to localhost</title>"), "{typed:?}");
        let field = answer.body.split_once("name=\"email\"").unwrap().1;
        let value = field.split_once(" value=\"").unwrap().1.split_once('"').unwrap().0;
        assert_eq!(value, shown, "{typed:?}");
        assert!(answer.body.contains("aria-invalid=\"true\""), "{typed:?}");
        let empty = answer.body.contains("Type your email address first");
        assert_eq!(empty, typed.trim().is_empty(), "{typed:?}");
        assert_eq!((answer.field("csrf"), answer.field("return_to")), (csrf.clone(), "/x?y=1".to_owned()), "{typed:?}");
    }
    assert_eq!(gate.counted("asked").await, 0);
}

/// An answer without what differs between any two requests, and without the address itself.
fn without_names(answer: &Answer, address: &str, csrf: &str) -> String {
    let id = answer.header("x-request-id").to_owned();
    let mut headers: Vec<_> = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.retain(|line| !line.starts_with("date:"));
    let whole = format!("{} {headers:#?}\n{}", answer.status, answer.body);
    let cookies = answer.set_cookies();
    let value = cookies.iter().filter_map(|cookie| cookie.split(['=', ';']).nth(1));
    let whole = value.fold(whole, |whole, value| whole.replace(value, "COOKIE"));
    whole.replace(&id, "ID").replace(csrf, "CSRF").replace(address, "ADDRESS")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_do_not_tell_who_is_known() {
    let closed = |configuration: String| {
        configuration.replace("allow = [\"*\"]", "allow = []")
            + "[sign_in]\nallow = [\"@example.com\"]\n[[issuer.user]]\nemail = \"ruth@examplf.com\"\n"
    };
    let mut stories = Vec::new();
    // One who exists, one who does not, and one whom the policy does not admit.
    for (address, mails) in [("root@example.com", 5), ("noor@example.com", 0), ("ruth@examplf.com", 0)] {
        let gate = Gate::with(closed).await;
        let mut visitor = gate.visitor();
        let csrf = visitor.open(SIGN_IN).await.field("csrf");
        let form = [("email", address), ("csrf", csrf.as_str()), ("return_to", "/x")];
        let mut story = Vec::new();
        for _ in 0..8 {
            let sent = visitor.post(SIGN_IN, &form).await;
            let pressed_twice = visitor.post(SIGN_IN, &form).await;
            gate.running.settle().await;
            let waiting = visitor.open(sent.location()).await;
            story.extend([&sent, &pressed_twice, &waiting].map(|answer| without_names(answer, address, &csrf)));
            gate.clock.advance(Duration::from_secs(30));
        }
        assert_eq!(gate.mails().await, mails, "{address}");
        stories.push(story);
    }
    assert_eq!(stories[0], stories[1], "an address that does not exist");
    assert_eq!(stories[0], stories[2], "an address that is not admitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_made_only_where_sign_up_says_so() {
    let rule = "[sign_up]\nallow = [\"@friends.test\"]";
    let gate = Gate::with(|configuration| configuration.replace("[sign_up]\nallow = [\"*\"]", rule)).await;
    for address in ["new@friends.test", "new@sub.friends.test", "new@friends.test.evil.test"] {
        assert_eq!(gate.visitor().ask_for_link(address, "/").await.location(), SENT);
    }
    assert_eq!(gate.mails().await, 1);
    let mut friend = gate.visitor();
    gate.clock.advance(Duration::from_secs(30));
    friend.sign_in(&gate, "new@friends.test", "/").await;
    assert!(friend.is_known_as(&gate, Some("new@friends.test")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_press_sends_one_mail_and_its_link_works() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let form = [("email", "ada@example.com"), ("csrf", csrf.as_str())];
    let presses = (0..5).map(|_| {
        let mut visitor = visitor.clone();
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        tokio::spawn(async move {
            let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            visitor.post(SIGN_IN, &form).await
        })
    });
    for press in presses.collect::<Vec<_>>() {
        assert_eq!(press.await.unwrap().location(), SENT);
    }
    assert_eq!(visitor.post(SIGN_IN, &form).await.location(), SENT);
    assert_eq!(gate.mails().await, 1);
    let callback = visitor.press_link(&gate, "ada@example.com").await;
    assert!(visitor.open(&callback).await.gives_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_again_replaces_the_older_link() {
    let gate = Gate::start().await;
    let (mut visitor, older) = gate.asked("ada@example.com", "/x").await;
    let waiting = visitor.open(SENT).await;
    assert!(waiting.body.contains("data-wait=\"30\""));
    let csrf = waiting.field("csrf");
    let again = [("email", "ada@example.com"), ("csrf", csrf.as_str()), ("return_to", "/x"), ("again", "1")];

    gate.clock.advance(Duration::from_secs(29));
    visitor.post(SIGN_IN, &again).await;
    assert_eq!(gate.mails().await, 1, "too early");
    gate.clock.advance(Duration::from_secs(1));
    assert_eq!(visitor.post(SIGN_IN, &again).await.location(), SENT);
    assert_eq!(gate.mails().await, 2);
    let waiting = visitor.open(SENT).await;
    let line = "We sent another email at <time datetime=\"2027-01-15T08:00:30Z\">08:00 UTC</time>. Use the newest one.";
    assert!(waiting.body.contains(line), "{}", waiting.body);

    let replaced = visitor.open(&older).await;
    assert_eq!((replaced.status, replaced.heading()), (StatusCode::GONE, "There's a newer email"));
    assert_eq!(replaced.field("email"), "ada@example.com");
    let newer = visitor.press_link(&gate, "ada@example.com").await;
    assert_eq!(visitor.open(&newer).await.location(), "/x");
    assert_eq!(visitor.open(&older).await.location(), "/x", "and then the older one leads on");
    assert_eq!(gate.counted("redeemed").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_was_open_for_a_day_still_gets_a_link_that_works() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    // The cookie lasts a day from the page; asking gives it another.
    gate.clock.advance(Duration::from_secs(24 * 3600 - 60));
    let sent = visitor.post(SIGN_IN, &[("email", "ada@example.com"), ("csrf", &csrf)]).await;
    let cookie =
        format!("linkgate-browser={}; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400", visitor.jar["linkgate-browser"]);
    assert_eq!(sent.set_cookies(), [cookie]);
    assert_eq!(mail(&gate, "ada@example.com").await["to"], "ada@example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_again_works_on_a_waiting_page_whose_link_has_died() {
    let gate = Gate::start().await;
    let (mut visitor, dead) = gate.asked("ada@example.com", "/x").await;
    let csrf = visitor.open(SENT).await.field("csrf");
    gate.clock.advance(Duration::from_secs(3600));
    let again = [("email", "ada@example.com"), ("csrf", csrf.as_str()), ("return_to", "/x"), ("again", "1")];
    assert_eq!(visitor.post(SIGN_IN, &again).await.location(), SENT);
    assert_eq!(visitor.open(&dead).await.heading(), "This link has expired");
    let callback = visitor.press_link(&gate, "ada@example.com").await;
    assert_eq!(visitor.open(&callback).await.location(), "/x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_told_in_json_what_a_person_is_told_on_a_page() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    let csrf = visitor.open(SIGN_IN).await.field("csrf");
    let check = async |jar: bool, email: &str, status: u16, error: &str| {
        let mut program = if jar { visitor.program() } else { gate.visitor().program() };
        let answer = program.post(SIGN_IN, &[("email", email), ("csrf", &csrf)]).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (status, Some(error)), "{email:?}");
    };
    check(true, "not an address", 422, "no_address").await;
    check(false, "ada@example.com", 403, "cookies_blocked").await;
    let expired = visitor.program().open(&format!("/.linkgate/callback?code=x&state={}", "A".repeat(43))).await;
    assert_eq!((expired.status.as_u16(), &expired.json()["error"]), (410, &"link_expired".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typed_address_is_still_there_for_whoever_wants_to_correct_it() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    visitor.ask_for_link("ada@exmaple.com", "/x").await;
    let page = visitor.open("/.linkgate/sign-in?return_to=/x").await;
    assert!(page.body.contains("value=\"ada@exmaple.com\""), "{page:?}");
    let somebody_else = gate.visitor().open(SIGN_IN).await;
    assert!(!somebody_else.body.contains("ada@"), "{somebody_else:?}");
}
