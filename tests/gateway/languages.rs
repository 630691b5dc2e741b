//! The language of pages and mails: what the visitor chose, what their browser asks for, or the theme's.

use http::Method;

use crate::harness::{Answer, Gate, Visitor};

/// A visitor whose browser asks for languages.
fn wanting(gate: &Gate, languages: &str) -> Visitor {
    let mut visitor = gate.visitor();
    visitor.fields.push(("accept-language".to_owned(), languages.to_owned()));
    visitor
}

fn is_in(answer: &Answer, tag: &str, direction: &str, heading: &str) {
    assert_eq!((answer.header("content-language"), answer.heading()), (tag, heading), "{answer:?}");
    let start = format!("<!doctype html>\n<html lang=\"{tag}\" dir=\"{direction}\">");
    assert!(answer.body.starts_with(&start), "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// Where the menu of a page leads for a language.
fn choice(page: &Answer, tag: &str) -> String {
    let start = format!("<a href=\"/.linkgate/language?lang={tag}&amp;");
    let (_, rest) = page.body.split_once(&start).unwrap_or_else(|| panic!("no {tag} in {}", page.body));
    let (rest, _) = rest.split_once('"').unwrap();
    format!("/.linkgate/language?lang={tag}&{rest}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_in_the_language_that_the_browser_asks_for() {
    let gate = Gate::start().await;
    for (languages, tag, direction, heading) in [
        ("de-AT,de;q=0.9,en;q=0.8", "de", "ltr", "Bei localhost anmelden"),
        ("fr;q=0.9, nl", "fr", "ltr", "Se connecter à localhost"),
        ("es", "es", "ltr", "Iniciar sesión en localhost"),
        ("he-IL", "he", "rtl", "כניסה אל localhost"),
        ("nl, pt;q=0.5", "en", "ltr", "Sign in to localhost"),
        ("*", "en", "ltr", "Sign in to localhost"),
        (";;q=,de;q=9", "en", "ltr", "Sign in to localhost"),
    ] {
        is_in(&wanting(&gate, languages).open("/.linkgate/sign-in").await, tag, direction, heading);
    }
    let long = "nl,".repeat(3_000);
    is_in(&wanting(&gate, &long).open("/.linkgate/sign-in").await, "en", "ltr", "Sign in to localhost");
    // Whoever answers, the portal, the issuer or the proxy itself.
    let mut visitor = wanting(&gate, "de");
    for (target, heading) in [
        ("/.linkgate/none", "Seite nicht gefunden"),
        ("/.linkgate/link?token=x", "Dieser Link ist abgelaufen"),
        ("/.linkgate/mailbox", "Postfach"),
        ("/.linkgate/%00", "Wir konnten diese Anfrage nicht lesen"),
    ] {
        is_in(&visitor.open(target).await, "de", "ltr", heading);
    }
    let refused = visitor.post("/.linkgate/sign-in", &[("email", "ada@example.com")]).await;
    is_in(&refused, "de", "ltr", "Ihr Browser behält unser Cookie nicht");
    assert!(!refused.body.contains("/.linkgate/language"), "what answers a form cannot be opened again");
    let late = visitor.open(&format!("/.linkgate/callback?code=c0de&state={}", "x".repeat(43))).await;
    is_in(&late, "de", "ltr", "Dieser Link ist abgelaufen");
    assert!(!late.body.contains("c0de"), "what the callback was asked with stays out of the page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_themes_language_is_for_those_who_ask_for_none_of_ours() {
    let gate = Gate::with(|text| format!("{text}\n[theme]\nlanguage = \"fr\"\n")).await;
    is_in(&gate.visitor().open("/.linkgate/sign-in").await, "fr", "ltr", "Se connecter à localhost");
    is_in(&wanting(&gate, "nl").open("/.linkgate/sign-in").await, "fr", "ltr", "Se connecter à localhost");
    is_in(&wanting(&gate, "en").open("/.linkgate/sign-in").await, "en", "ltr", "Sign in to localhost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_is_kept_and_leads_back_to_the_page() {
    let gate = Gate::start().await;
    let mut visitor = wanting(&gate, "de");
    let target = "/.linkgate/sign-in?return_to=%2Freports%3Fa%3D1%26b%3D2";
    let page = visitor.open(target).await;
    let chosen = visitor.open(&choice(&page, "he")).await;
    assert_eq!(chosen.location(), target);
    let [cookie] = chosen.set_cookies()[..] else { panic!("{chosen:?}") };
    assert_eq!(cookie, "linkgate-language=he; HttpOnly; SameSite=Lax; Path=/; Max-Age=34560000");
    let page = visitor.open(target).await;
    is_in(&page, "he", "rtl", "כניסה אל localhost");
    assert_eq!(page.field("return_to"), "/reports?a=1&b=2");
    let current = "<span lang=\"he\" dir=\"rtl\" aria-current=\"true\">עברית</span>";
    assert!(page.body.contains(current), "{}", page.body);
    // What the visitor wanted is where they land, and the application hears of no choice.
    visitor.sign_in(&gate, "ada@example.com", "/reports").await;
    let denied = visitor.open("/.linkgate/sign-out").await;
    is_in(&denied, "he", "rtl", "לצאת מ־localhost?");
    visitor.jar.insert("linkgate-language".to_owned(), "xx".to_owned());
    is_in(&visitor.open("/.linkgate/sign-out").await, "de", "ltr", "Von localhost abmelden?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_leads_nowhere_else_and_is_made_on_purpose() {
    let gate = Gate::start().await;
    let mut visitor = gate.visitor();
    for elsewhere in ["https://evil.test/", "//evil.test", "/%5Cevil.test", "javascript:alert(1)", ""] {
        let chosen = visitor.open(&format!("/.linkgate/language?lang=de&return_to={elsewhere}")).await;
        assert_eq!(chosen.location(), "/", "{elsewhere}");
    }
    for query in ["", "?lang=", "?lang=xx", "?lang=DE", "?lang=en-XA", "?lang=de%0d%0aSet-Cookie:%20a=b"] {
        let refused = visitor.open(&format!("/.linkgate/language{query}")).await;
        assert_eq!((refused.status.as_u16(), refused.set_cookies().len()), (400, 0), "{query}");
    }
    let ahead = [("sec-purpose", "prefetch"), ("sec-fetch-dest", "image")];
    for field in ahead {
        let fetched = visitor.send(Method::GET, "/.linkgate/language?lang=de&return_to=/x", &[field], "").await;
        assert_eq!((fetched.location(), fetched.set_cookies().len()), ("/x", 0), "{field:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mail_is_in_the_language_of_the_page() {
    let gate = Gate::start().await;
    for (address, tag, direction, subject, button) in [
        ("ada@example.com", "de", "ltr", "Bei localhost anmelden (", "Anmelden"),
        ("eve@example.com", "he", "rtl", "כניסה אל localhost (", "כניסה"),
    ] {
        let mut visitor = wanting(&gate, tag);
        visitor.ask_for_link(address, "/").await;
        gate.mails().await;
        let mail = visitor.program().open(&format!("/.linkgate/mailbox/latest?to={address}")).await.json();
        let text = |name: &str| mail[name].as_str().unwrap().to_owned();
        assert!(text("subject").starts_with(subject), "{mail}");
        assert!(text("html").contains(&format!("<html lang=\"{tag}\" dir=\"{direction}\">")), "{mail}");
        assert!(text("html").contains(&format!(">{button}</a>")), "{mail}");
        assert!(text("text").contains(&text("link")) && text("html").contains(&text("link")), "{mail}");
    }
}
