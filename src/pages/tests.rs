//! Every page in every state: complete, escaped, accessible in structure, and without anything inline.

use std::collections::BTreeSet;
use std::path::Path;

use minijinja::context;

use super::*;
use crate::identity::{EmailAddress, IdentifierKind};
use crate::setting::Span;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_777_890_030);
const SCRIPT: &str = "<script>alert(\"1\")</script>";
const REQUEST_ID: &str = "req-5f1c";

fn pages(theme: &Theme) -> Pages {
    let origin = Origin::try_from("https://app.example.com".to_owned()).expect("the origin is well formed");
    Pages::new(theme, &origin, Path::new("/")).expect("the theme is fine")
}

fn address() -> EmailAddress {
    EmailAddress::parse("ada@example.com").expect("the address is well formed")
}

fn reader() -> Reader {
    Reader { language: Language::English, here: Some("/here".to_owned()) }
}

fn frame(reader: &Reader) -> Frame<'_> {
    Frame { request_id: REQUEST_ID, now: NOW, reader }
}

/// Every state of every page, with `text` wherever a page shows a text that is not its own.
fn all(pages: &Pages, text: &str) -> Vec<(String, String)> {
    all_in(Language::English, pages, text)
}

/// The same in one language.
fn all_in(language: Language, pages: &Pages, text: &str) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    let text = || text.to_owned();
    let later = NOW.plus(std::time::Duration::from_secs(600));
    let mut add = |state: &str, page: String| shown.push((state.to_owned(), page));
    let reader = Reader { language, here: Some(text()) };
    let frame = Frame { request_id: &text(), now: NOW, reader: &reader };

    let enter = EnterAddress { csrf: text(), return_to: text(), address: text(), ..EnterAddress::default() };
    add("sign-in", pages.show(&enter, frame));
    add("sign-in, going on", pages.show(&EnterAddress { going_to: Some(text()), ..enter.clone() }, frame));
    add("sign-in, hint", pages.show(&EnterAddress { suggestion: Some(address()), ..enter.clone() }, frame));
    for problem in [AddressProblem::Empty, AddressProblem::Incomplete] {
        let view = EnterAddress { problem: Some(problem), ..enter.clone() };
        add(&format!("sign-in, {problem:?}"), pages.show(&view, frame));
        for kind in ["phone_number", "user_id", "username", "member_id"] {
            let kind = IdentifierKind::try_from(kind.to_owned()).expect("the kind is well formed");
            let view = EnterAddress { kind: kind.clone(), step_up: true, ..view.clone() };
            add(&format!("sign-in by {}, {problem:?}", kind.as_str()), pages.show(&view, frame));
            let view = EnterAddress { label: Some(text()), problem: None, ..view };
            add(&format!("sign-in by {}, {problem:?}, labelled", kind.as_str()), pages.show(&view, frame));
        }
    }
    for notice in [
        Notice::EndedIdle { idle_timeout: Span::hours(12) },
        Notice::EndedLifetime,
        Notice::FormInterrupted,
        Notice::FormRenewed,
    ] {
        let view = EnterAddress { notice: Some(notice), ..enter.clone() };
        add(&format!("sign-in, {notice:?}"), pages.show(&view, frame));
    }

    let check = CheckEmail {
        csrf: text(),
        address: text(),
        code: None,
        number: None,
        organization: text(),
        step_up: false,
        expires_at: later,
        resend_at: later,
        sent_again_at: None,
        limit_until: None,
        webmail: None,
        sender: Some(text()),
        suggestion: None,
        return_to: text(),
    };
    add("check email", pages.show(&check, frame));
    add("check email, sent again", pages.show(&CheckEmail { sent_again_at: Some(NOW), ..check.clone() }, frame));
    add("check email, limit", pages.show(&CheckEmail { limit_until: Some(later), ..check.clone() }, frame));
    add("check email, hint", pages.show(&CheckEmail { suggestion: Some(address()), ..check.clone() }, frame));
    let webmail = Webmail { name: "Gmail", url: "https://mail.google.com/" };
    add("check email, web mail", pages.show(&CheckEmail { webmail: Some(webmail), ..check.clone() }, frame));
    for flags in 0..16_u8 {
        let flag = |bit: u8| flags & bit != 0;
        let code =
            CodeEntry { is_text: flag(1), is_asked: flag(2), comes_with_link: flag(4), is_wrong: flag(8) && flag(2) };
        add(&format!("check email, {code:?}"), pages.show(&CheckEmail { code: Some(code), ..check.clone() }, frame));
    }
    add("check email, number", pages.show(&CheckEmail { number: Some(42), ..check.clone() }, frame));
    add("check email, step-up", pages.show(&CheckEmail { step_up: true, ..check }, frame));
    add("code locked", pages.show(&CodeLocked { until: later }, frame));
    add("signed in elsewhere", pages.show(&SignedInElsewhere { continue_to: text() }, frame));

    for address in [None, Some(text())] {
        let known = if address.is_some() { "known" } else { "unknown" };
        let (csrf, return_to) = (text(), text());
        let link_lifetime = Span::minutes(10);
        let view = LinkExpired { link_lifetime, address: address.clone(), csrf, return_to };
        add(&format!("link expired, {known}"), pages.show(&view, frame));
        let lifetime = Span::minutes(10);
        let view = CodeExpired { lifetime, address: address.clone(), csrf: text(), return_to: text() };
        add(&format!("code expired, {known}"), pages.show(&view, frame));
        let view = LinkUsed { address: address.clone(), csrf: text(), return_to: text() };
        add(&format!("link used, {known}"), pages.show(&view, frame));
        let view = NewerEmail { sent_at: NOW, address, csrf: text(), return_to: text() };
        add(&format!("newer email, {known}"), pages.show(&view, frame));
    }
    for codes in [false, true] {
        add(&format!("other browser, {codes}"), pages.show(&OtherBrowser { codes }, frame));
    }
    for (browser, system) in [(String::new(), None), (text(), None), (text(), Some(text()))] {
        let state = format!("choose a number, {browser:.3} {}", system.is_some());
        let (asked_at, numbers) = (NOW, [42, 17, 99]);
        let view = ChooseNumber { csrf: text(), opened: text(), asked_at, browser, system, client: text(), numbers };
        add(&state, pages.show(&view, frame));
    }
    add("number chosen", pages.show(&NumberChosen {}, frame));
    add("number stopped", pages.show(&NumberStopped {}, frame));
    for step_up in [false, true] {
        let (csrf, address, organization, return_to) = (text(), text(), text(), text());
        let view = SignInStopped { csrf, address, organization, step_up, resend_at: later, return_to };
        add(&format!("sign-in stopped, {step_up}"), pages.show(&view, frame));
    }

    let debug = DebugPage {
        address: text(),
        subject: text(),
        groups: vec![text()],
        roles: vec![text()],
        signed_in_at: NOW,
        expires_at: later,
        idle_timeout: Span::hours(12),
        asked: text(),
        explained: None,
        refusals: vec![RefusedBefore {
            at: NOW,
            address: text(),
            verdict: "no_access",
            reason: "denied",
            request_id: text(),
        }],
    };
    add("debug page, no address", pages.show(&debug, frame));
    let forwarded = Explained {
        client: text(),
        path: Some(text()),
        route: Some(text()),
        rule: Some(text()),
        rule_text: Some(text()),
        grant: Some(text()),
        verdict: "forwarded",
        servers: vec![text()],
        target: text(),
        fields: vec![(text(), text())],
        ..Explained::default()
    };
    let observed = Explained { reason: Some("denied"), is_observed: true, ..forwarded.clone() };
    let refused = Explained { verdict: "no_access", status: Some(403), reason: Some("denied"), ..Explained::default() };
    let open = Explained { opened_by: Some(text()), ..Explained::default() };
    for explained in [forwarded, observed, refused, open] {
        let state = format!("debug page, {}, {:?}", explained.verdict, explained.reason);
        add(&state, pages.show(&DebugPage { explained: Some(explained), ..debug.clone() }, frame));
    }

    let view = AlreadySignedIn { address: text(), csrf: text(), return_to: text() };
    add("already signed in", pages.show(&view, frame));
    for reason in [None, Some("denied"), Some("not_named"), Some("network"), Some("hours")] {
        for said in [None, Some(text())] {
            let state = format!("no access, {reason:?}, {}", if said.is_some() { "text" } else { "no text" });
            let (address, ask) = (Some(text()), None);
            let view = NoAccess { address, csrf: text(), return_to: text(), reason, text: said, ask };
            add(&state, pages.show(&view, frame));
            add(&format!("{state}, ask"), pages.show(&NoAccess { ask: Some(text()), ..view.clone() }, frame));
            add(&format!("{state}, signed out"), pages.show(&NoAccess { address: None, ..view }, frame));
        }
    }
    for refused in [false, true] {
        add(&format!("asked for access, {refused}"), pages.show(&AskedForAccess { refused, return_to: text() }, frame));
    }
    for state in [
        AccessRequestState::Open { asked_at: NOW, chosen: None },
        AccessRequestState::Open { asked_at: NOW, chosen: Some("day") },
        AccessRequestState::Refused { by: text(), at: NOW },
        AccessRequestState::Granted { by: text(), until: None },
        AccessRequestState::Granted { by: text(), until: Some(later) },
    ] {
        let name = format!("access request, {state:.9?}");
        let view = AccessRequest { csrf: text(), key: text(), address: text(), route: text(), state };
        add(&name, pages.show(&view, frame));
    }
    add("access request, gone", pages.show(&AccessRequestGone {}, frame));
    add("not admitted", pages.show(&NotAdmitted {}, frame));
    for (kind, status) in [(ProblemKind::Own, 500), (ProblemKind::Upstream, 502), (ProblemKind::Unavailable, 503)] {
        add(&format!("problem, {kind:?}"), pages.show(&Problem { kind, status }, frame));
    }
    add("sign-in unavailable", pages.show(&SignInUnavailable {}, frame));
    add("too many requests", pages.show(&TooManyRequests { until: later }, frame));
    add("sign out", pages.show(&SignOut { csrf: text(), address: text(), all_sites: true }, frame));
    add("signed out", pages.show(&SignedOut { everywhere: false }, frame));
    add("signed out everywhere", pages.show(&SignedOut { everywhere: true }, frame));
    for comes_back in [false, true] {
        let page = CookiesBlocked { host: text(), return_to: text(), comes_back };
        add(&format!("cookies blocked, comes back: {comes_back}"), pages.show(&page, frame));
    }
    add("not found", pages.show(&NotFound {}, frame));
    add("unknown host", pages.show(&UnknownHost {}, frame));
    add("stale form", pages.show(&StaleForm { return_to: text() }, frame));
    add("bad request", pages.show(&BadRequest {}, frame));
    for status in [405, 413] {
        add(&format!("refused, {status}"), pages.show(&Refused { status }, frame));
    }
    let row = |used_at: Option<Timestamp>, routes: Vec<String>| TokenRow {
        id: text(),
        name: text(),
        routes,
        made_at: NOW,
        used_at,
        expires_at: later,
    };
    let sign_in = |is_this: bool, streams: usize, began: Option<(String, Option<String>)>| SignInRow {
        key: text(),
        is_this,
        began: began.map(|(browser, system)| Began { at: NOW, browser, system, client: text() }),
        used_at: NOW,
        streams,
    };
    let account = Account {
        csrf: text(),
        once: text(),
        address: text(),
        sign_ins: vec![sign_in(true, 0, None)],
        has_tokens: true,
        tokens: Vec::new(),
        routes: vec![text()],
        choices: vec![10_080, 129_600],
        may_make: true,
        made: None,
        problem: None,
        name: text(),
    };
    add("account", pages.show(&account, frame));
    let sign_ins = vec![
        sign_in(true, 0, Some((text(), Some(text())))),
        sign_in(false, 1, Some((text(), None))),
        sign_in(false, 2, Some((String::new(), None))),
    ];
    add("account, sign-ins", pages.show(&Account { sign_ins, has_tokens: false, ..account.clone() }, frame));
    add("account, signed in long ago", pages.show(&Account { may_make: false, ..account.clone() }, frame));
    let tokens = vec![row(None, Vec::new()), row(Some(NOW), vec![text()])];
    add("account, tokens", pages.show(&Account { tokens, routes: Vec::new(), ..account.clone() }, frame));
    let made = Some(MadeToken { name: text(), text: text() });
    add("account, made", pages.show(&Account { made, ..account.clone() }, frame));
    for problem in [TokenProblem::Name, TokenProblem::Bounds, TokenProblem::TooMany] {
        let view = Account { problem: Some(problem), ..account.clone() };
        add(&format!("account, {problem:?}"), pages.show(&view, frame));
    }
    let asked = |are_routes_known: bool, routes: Vec<String>| {
        let (code, name, client, agent) = (text(), text(), text(), text());
        DeviceStage::Confirm(DeviceRequest { code, name, routes, minutes: 43_200, client, agent, are_routes_known })
    };
    for (state, stage) in [
        ("enter", DeviceStage::Enter),
        ("wrong", DeviceStage::Wrong),
        ("confirm", asked(true, Vec::new())),
        ("confirm, unknown routes", asked(false, vec![text()])),
        ("allowed", DeviceStage::Allowed),
        ("denied", DeviceStage::Denied),
    ] {
        let view = Device { csrf: text(), address: text(), stage };
        add(&format!("device, {state}"), pages.show(&view, frame));
    }
    shown
}

fn themes() -> [Theme; 2] {
    let contact = Some("help@example.com".to_owned());
    [Theme::default(), Theme { name: Some("Ada & Söhne".to_owned()), contact, ..Theme::default() }]
}

/// The start tags of a page.
fn tags(page: &str) -> impl Iterator<Item = &str> {
    page.split('<').skip(1).filter_map(|piece| piece.split_once('>')).map(|(tag, _)| tag)
}

/// The part of `page` between `start` and `end`, each time there is one.
fn parts<'a>(page: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    page.split(start).skip(1).filter_map(move |piece| piece.split_once(end)).map(|(part, _)| part)
}

#[test]
fn every_page_is_complete() {
    for theme in themes() {
        let pages = pages(&theme);
        for (state, page) in all(&pages, "/reports") {
            assert_ne!(page, PLAIN_PAGE, "{state}");
            let count = |part: &str| page.matches(part).count();
            assert_eq!((count("<h1>"), count("<main "), count("<footer "), count("<title>")), (1, 1, 1, 1), "{state}");
            assert!(page.starts_with("<!doctype html>\n<html lang=\"en\" dir=\"ltr\">"), "{state}");
            let title = parts(&page, "<title>", "</title>").next().unwrap_or_default();
            let heading = parts(&page, "<h1>", "</h1>").next().unwrap_or_default();
            assert_eq!(title.trim_start_matches("Error: "), heading, "{state}");
            assert!(!heading.is_empty() && !page.contains("{{"), "{state}");
            // The one brace that is left for the script.
            assert_eq!(count("{"), count("another in {time}"), "{state}");
        }
        assert_eq!(pages.missing_messages(), 0);
    }
}

/// The pages that are shown for others: the issuer's, and the demo application's.
fn of_guests(language: Language, pages: &Pages, text: &str) -> Vec<(String, String)> {
    let reader = Reader { language, here: Some(text.to_owned()) };
    let mail = |html: &str, subject: &str| {
        context! {
            id => text, to => text, subject, text, html, link => "/", code => text, sent_at => NOW.unix_millis(),
        }
    };
    let field = context! { name => text, value => text, identity => true };
    let demo = |visitor: Option<&str>| context! { visitor, method => text, target => text, fields => [field.clone()] };
    let asked = |browser: Option<&str>, system: Option<&str>| {
        context! { token => text, asked_at => NOW.unix_millis(), browser, system }
    };
    let cases = [
        ("link.html", asked(Some(text), Some(text))),
        ("link.html", asked(Some(text), None)),
        ("link.html", asked(None, None)),
        ("mailbox.html", context! { mails => [mail(text, text), mail("", "")], sending => "works" }),
        ("mailbox.html", context! { mails => [mail(text, text)], sending => "slow" }),
        ("mailbox.html", context! { mails => [""; 0], sending => "fails" }),
        ("mailbox_mail.html", context! { mail => mail(text, text), view => "html" }),
        ("mailbox_mail.html", context! { mail => mail(text, text), view => "phone" }),
        ("mailbox_mail.html", context! { mail => mail(text, text), view => "text" }),
        ("mailbox_mail.html", context! { mail => mail(text, text), view => "source" }),
        ("mailbox_mail.html", context! { mail => mail("", ""), view => "html" }),
        ("mailbox_mail.html", context! { mail => (), view => "html" }),
        ("demo.html", demo(Some(text))),
        ("demo.html", demo(None)),
    ];
    cases.into_iter().map(|(name, values)| (name.to_owned(), pages.render(name, values, &reader))).collect()
}

/// What is read on a page, or read out: texts and the attributes that hold some, without what others wrote, addresses of
/// pages, times and names of programs.
fn read_on(page: &str) -> Vec<String> {
    let mut read = Vec::new();
    for (element, end) in [("<code>", "</code>"), ("<bdi>", "</bdi>"), ("<nav", "</nav>"), ("<pre>", "</pre>")] {
        assert_eq!(page.matches(element).count(), page.matches(end).count(), "{page}");
    }
    let mut rest = page.to_owned();
    for (element, end) in [("<code>", "</code>"), ("<bdi>", "</bdi>"), ("<nav", "</nav>"), ("<pre>", "</pre>")] {
        while let Some(start) = rest.find(element) {
            let stop = rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len());
            if element == "<nav" {
                read.extend(parts(&rest[start..stop], "aria-label=\"", "\"").map(str::to_owned));
            }
            rest.replace_range(start..stop, "");
        }
    }
    for name in ["aria-label", "alt", "title", "placeholder", "data-text", "data-over", "data-copied"] {
        read.extend(parts(&rest, &format!(" {name}=\""), "\"").map(str::to_owned));
    }
    read.extend(rest.split('<').skip(1).filter_map(|piece| piece.split_once('>')).map(|(_, text)| text.to_owned()));
    read
}

#[test]
fn no_word_of_ours_is_written_into_a_template() {
    let theme = Theme { name: Some("7".to_owned()), contact: Some("https://7.test/".to_owned()), ..Theme::default() };
    let pages = pages(&theme);
    for language in [Language::Stretched, Language::Mirrored] {
        let all = [all_in(language, &pages, "7"), of_guests(language, &pages, "7")].concat();
        for (state, page) in all {
            let (tag, direction) = (language.tag(), language.direction());
            let start = format!("<!doctype html>\n<html lang=\"{tag}\" dir=\"{direction}\">");
            assert!(page.starts_with(&start), "{state}: {page}");
            for text in read_on(&page) {
                let words = text.split(|sign: char| !sign.is_ascii_alphabetic()).filter(|word| word.len() > 1);
                // Values: the zone, a contact's host, a web mail's name, a custom identifier's, and what the script fills.
                let known = ["UTC", "test", "Gmail", "member", "id", "time", "subject", "quot", "amp"];
                let strange: Vec<_> = words.filter(|word| !known.contains(word)).collect();
                assert!(strange.is_empty(), "{state}: {strange:?} in {text:?}");
            }
            // A sentence is one message: none begins in the middle of another one's.
            assert!(!page.contains("⟧⟦"), "{state}: {page}");
        }
    }
    assert_eq!(pages.missing_messages(), 0);
}

#[test]
fn every_page_is_complete_in_every_language() {
    let pages = pages(&themes()[1]);
    for language in Language::ALL {
        let english = all(&pages, "/reports");
        for ((state, page), (_, other)) in all_in(language, &pages, "/reports").into_iter().zip(english) {
            assert_ne!(page, PLAIN_PAGE, "{state}");
            let heading = |page: &str| parts(page, "<h1>", "</h1>").next().unwrap_or_default().to_owned();
            assert_eq!(heading(&page) == heading(&other), language == Language::English, "{state}, {language:?}");
            for other in Language::ALL {
                assert_eq!(page.contains(other.name()), state != "unknown host", "{state}, {language:?}");
            }
        }
    }
    assert_eq!(pages.missing_messages(), 0);
}

#[test]
fn style_has_no_left_and_no_right() {
    let pages = pages(&Theme::default());
    let style = pages.asset("style.css").expect("it is there");
    let style = String::from_utf8_lossy(&style.body).into_owned();
    for side in ["left", "right"] {
        for start in ["margin-", "padding-", "border-", "text-align: ", "float: ", "\n  ", "clear: "] {
            assert!(!style.contains(&format!("{start}{side}")), "{start}{side}");
        }
    }
}

#[test]
fn what_others_wrote_is_escaped() {
    let theme = Theme { name: Some(SCRIPT.to_owned()), ..Theme::default() };
    for (state, page) in all(&pages(&theme), SCRIPT) {
        assert_ne!(page, PLAIN_PAGE, "{state}");
        assert!(!page.contains("<script>") && !page.contains("alert(\"1\")"), "{state}");
        assert!(page.contains("&lt;script&gt;"), "{state}");
    }
}

#[test]
fn nothing_is_inline() {
    for theme in themes() {
        for (state, page) in all(&pages(&theme), "/reports") {
            for tag in tags(&page) {
                assert!(
                    !tag.contains(" style=") && !tag.contains(" on") && !tag.contains("javascript:"),
                    "{state}: {tag}"
                );
                assert!(!tag.starts_with("style") && !tag.starts_with("base"), "{state}: {tag}");
                assert!(!tag.contains("='"), "{state}: {tag} relies on double quotes for escaping");
            }
            let scripts: Vec<_> = tags(&page).filter(|tag| tag.starts_with("script")).collect();
            assert_eq!(scripts, ["script src=\"/.linkgate/assets/page.js\" defer"], "{state}");
        }
    }
}

#[test]
fn what_a_page_refers_to_is_there() {
    let pages = pages(&Theme::default());
    for (state, page) in all(&pages, "/reports") {
        for name in parts(&page, "\"/.linkgate/assets/", "\"") {
            assert!(pages.asset(name).is_some(), "{state}: {name}");
        }
        for reference in parts(&page, "aria-describedby=\"", "\"").flat_map(str::split_whitespace) {
            assert!(page.contains(&format!(" id=\"{reference}\"")), "{state}: {reference}");
        }
    }
}

#[test]
fn every_form_that_posts_carries_its_token_and_stays_here() {
    let mut forms = 0;
    for (state, page) in all(&pages(&Theme::default()), "token") {
        for form in parts(&page, "<form", "</form>") {
            // What only asks spends nothing.
            if form.contains("action=\"/.linkgate/debug\"") {
                assert!(form.contains("method=\"get\"") && !form.contains("csrf"), "{state}");
                continue;
            }
            forms += 1;
            assert!(form.contains("method=\"post\""), "{state}");
            assert!(form.contains("<input type=\"hidden\" name=\"csrf\" value=\"token\">"), "{state}");
            let actions = [
                "action=\"/.linkgate/sign-in\"",
                "action=\"/.linkgate/sign-in/code\"",
                "action=\"/.linkgate/sign-in/number\"",
                "action=\"/.linkgate/sign-out\"",
                "action=\"/.linkgate/account\"",
                "action=\"/.linkgate/access\"",
                "action=\"/.linkgate/access/token\"",
                "action=\"/.linkgate/device\"",
            ];
            assert!(actions.iter().any(|action| form.contains(action)), "{state}");
        }
    }
    assert!(forms > 10, "{forms}");
}

#[test]
fn pages_link_to_no_scheme_but_the_webs() {
    for target in ["javascript:alert(1)", "//evil.test", "data:text/html,x"] {
        for (state, page) in all(&pages(&Theme::default()), target) {
            assert!(!page.contains(&format!("href=\"{target}")), "{state}");
        }
    }
}

#[test]
fn an_unknown_host_learns_nothing_and_gets_no_way_on() {
    for theme in themes() {
        let pages = pages(&theme);
        let page = pages.show(&UnknownHost {}, frame(&reader()));
        assert!(!page.contains("<form") && !page.contains("<a "));
        assert!(!page.contains(pages.app_name()) && !page.contains("help@example.com"));
        assert!(page.contains(REQUEST_ID));
    }
}

#[test]
fn another_browser_is_shown_no_address() {
    let page = pages(&Theme::default()).show(&OtherBrowser { codes: true }, frame(&reader()));
    assert!(!page.contains('@') && !page.contains("<form"));
}

#[test]
fn the_waiting_page_has_the_fields_of_the_sign_in_form() {
    let pages = pages(&Theme::default());
    let find = |name: &str| all(&pages, "/reports").into_iter().find(|(state, _)| state == name).expect("it exists").1;
    let page = find("check email");
    for field in
        ["name=\"email\" value=\"/reports\"", "name=\"return_to\" value=\"/reports\"", "name=\"again\" value=\"1\""]
    {
        assert!(page.contains(&format!("<input type=\"hidden\" {field}>")), "{field}");
    }
    assert!(page.contains("href=\"/.linkgate/sign-in?return_to=%2Freports\""));
    assert!(page.contains("data-wait=\"600\""));
    assert!(page.contains("<time datetime=\"2026-05-04T10:30:30Z\">10:30 UTC</time>"));
    // Who has reached the limit is told so, and cannot send again.
    let limited = find("check email, limit");
    assert!(!limited.contains("name=\"again\"") && limited.contains("You can ask again at "));
}

#[test]
fn a_page_with_its_assets_weighs_less_than_30_kb() {
    let pages = pages(&Theme::default());
    let asset = |name: &str| pages.asset(name).map_or(0, |asset| asset.body.len());
    let assets = asset("style.css") + asset("theme.css") + asset("page.js") + asset("icon.svg");
    for (state, page) in all(&pages, "/reports") {
        assert!(page.len() + assets < 30_000, "{state}: {}", page.len() + assets);
    }
}

#[test]
fn style_and_script_load_nothing_from_elsewhere() {
    let pages = pages(&Theme::default());
    for name in ["style.css", "theme.css", "page.js", "mailbox.js"] {
        let asset = pages.asset(name).expect("it is there");
        let text = String::from_utf8_lossy(&asset.body).into_owned();
        for part in ["://", "@import", "url(", "innerHTML", "eval("] {
            assert!(!text.contains(part), "{name}: {part}");
        }
    }
}

#[test]
fn every_message_is_used_and_every_used_message_is_there() {
    let mut used: BTreeSet<String> = ["minutes", "hours", "days"].map(|unit| format!("span.{unit}")).into();
    for (_, source) in TEMPLATES {
        used.extend(parts(source, "t(\"", "\"").map(str::to_owned));
    }
    for source in [include_str!("mail_texts.rs"), include_str!("messages.rs")] {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        used.extend(parts(source, "\"mail.", "\"").map(|key| format!("mail.{key}")));
    }
    for source in [include_str!("../../templates/mail.html"), include_str!("../../templates/mail.txt")] {
        used.extend(parts(source, "t(\"", "\"").map(str::to_owned));
    }
    used.extend((1..=12).map(|month| format!("date.month.{month}")));
    used.extend(["date.day", "mail.text_message"].map(str::to_owned));
    let letters = include_str!("letters.rs");
    used.extend(parts(letters, "\"letter.", "\"").map(|key| format!("letter.{key}")));
    let catalogue = Catalogue::embedded().expect("the catalogue is well formed");
    let plain = |key: &str| key.trim_end_matches(".one").trim_end_matches(".other").to_owned();
    let known: BTreeSet<String> = catalogue.keys().map(plain).collect();
    assert_eq!(used, known);
}

#[test]
fn a_template_that_fails_gives_a_plain_page() {
    let pages = pages(&Theme::default());
    assert_eq!(pages.render("nowhere.html", context! {}, &reader()), PLAIN_PAGE);
    assert_eq!(pages.render("sign_in.html", context! {}, &reader()), PLAIN_PAGE);
}

#[test]
fn an_operators_templates_replace_ours_by_name() {
    let folder = std::env::temp_dir().join(format!("linkgate-page-templates-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the directory for temporary files can be written");
    let theme = Theme { templates: Some(folder.clone()), ..Theme::default() };
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("the folder was just made");
    let problem = || theme.problems(Path::new("/")).into_iter().map(|(name, error)| (name, error.to_string())).next();
    let place = folder.display();
    let check = |expected: &str| assert_eq!(problem(), Some(("templates".to_owned(), expected.to_owned())));
    check(&format!("find a template of a page, like `sign_in.html`, in `{place}`"));
    write("sign_inn.html", "");
    check(&format!("use the template `{place}/sign_inn.html:1`: no page has a template of this name"));
    std::fs::remove_file(folder.join("sign_inn.html")).expect("it was just written");
    write("not_found.html", "<h1>\n{% if %}");
    let found = problem().expect("the template is wrong").1;
    assert!(found.starts_with(&format!("use the template `{place}/not_found.html:2`: ")), "{found}");
    write("not_found.html", "<h1>{{ t(\"not_found.title\") }}: {{ app }}</h1>");
    write("bad_request.html", "{{ nothing.of_this_name }}");
    write("mail.html", "{% if %}");
    assert_eq!(problem(), None);
    let pages = pages(&theme);
    assert_eq!(pages.show(&NotFound {}, frame(&reader())), "<h1>Page not found: app.example.com</h1>");
    let ours = pages.show(&BadRequest {}, frame(&reader()));
    assert!(ours.contains("<h1>We couldn't read that request</h1>"), "{ours}");
    std::fs::remove_dir_all(&folder).expect("it was just made");
}

#[test]
fn the_name_is_the_themes_or_the_host() {
    let name = |theme: &Theme| pages(theme).app_name().to_owned();
    assert_eq!(themes().each_ref().map(name), ["app.example.com", "Ada & Söhne"]);
}

#[test]
fn a_logo_takes_the_place_of_the_initial() {
    let path = std::env::temp_dir().join(format!("linkgate-page-logo-{}.svg", std::process::id()));
    std::fs::write(&path, "<svg/>").expect("the file can be written");
    let with_logo = pages(&Theme { logo: Some(path.clone()), ..Theme::default() });
    std::fs::remove_file(&path).expect("the file can be removed");
    let shown = |pages: &Pages| pages.show(&NotFound {}, frame(&reader()));
    let logo = "<img class=\"logo\" src=\"/.linkgate/assets/logo\" alt=\"\">";
    assert!(shown(&with_logo).contains(logo) && !shown(&with_logo).contains("class=\"mark\""));
    assert!(!shown(&pages(&Theme::default())).contains(logo));
}
