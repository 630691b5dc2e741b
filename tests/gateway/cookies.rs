//! The gateway's cookies stay between the gateway and the browser, and only one that it made itself signs in.

use crate::harness::{Answer, Gate, HOST, exchange};

/// Asks for a page as a program, with these `Cookie` fields.
async fn ask(gate: &Gate, cookies: &[&str]) -> Answer {
    let mut request = format!("GET /page HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    for cookie in cookies {
        request.push_str(&format!("Cookie: {cookie}\r\n"));
    }
    exchange(gate.running.address, format!("{request}\r\n").as_bytes()).await
}

async fn session_cookie(gate: &Gate, address: &str) -> String {
    gate.signed_in(address).await.session_cookie()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_sees_one_cookie_field_without_the_gateways() {
    let gate = Gate::start().await;
    let session = session_cookie(&gate, "ada@example.com").await;
    for (fields, expected) in [
        (&["linkgate=ID"][..], &[][..]),
        (&["linkgate=ID; a=1; b=2"], &["a=1; b=2"]),
        (&["a=1; linkgate=ID; b=2"], &["a=1; b=2"]),
        (&["a=1; b=2; linkgate=ID"], &["a=1; b=2"]),
        (&["a=1;linkgate=ID;b=2"], &["a=1; b=2"]),
        (&["a=1", "linkgate=ID", "b=2; c=3"], &["a=1; b=2; c=3"]),
        (&["a=1; linkgate=ID", "linkgate-browser=x; b=2", "__Host-linkgate=y"], &["a=1; b=2"]),
        (&["linkgate=ID; LINKGATE=x; __hOsT-LinkGate-Browser=y; a=1"], &["a=1"]),
        (&["linkgate=ID; linkgate =x; a=1"], &["a=1"]),
        (&["linkgate=ID; a=linkgate=x; linkgates=1; xlinkgate=2; b"], &["a=linkgate=x; linkgates=1; xlinkgate=2; b"]),
        (&["linkgate=ID; a=\"1; linkgate=x\"; b=2"], &["a=\"1; b=2"]),
    ] {
        let fields: Vec<_> = fields.iter().map(|field| field.replace("ID", &session)).collect();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        assert_eq!(ask(&gate, &fields).await.body, "hello", "{fields:?}");
        let seen = gate.recorder.last();
        assert_eq!(seen.values("cookie"), expected, "{fields:?}");
        assert!(!seen.head.contains(&session), "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_cannot_set_the_gateways_cookies() {
    let gate = Gate::start().await;
    let session = session_cookie(&gate, "ada@example.com").await;
    gate.recorder.answer_with(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: linkgate=x; Path=/\r\n\
         set-cookie: __Host-linkgate=x; Secure; Path=/\r\nSet-Cookie: LINKGATE=x\r\nSet-Cookie: linkgate-browser=x\r\n\
         Set-Cookie:  linkgate =x\r\nSet-Cookie: linkgate\r\nSet-Cookie: b=linkgate\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = ask(&gate, &[&format!("linkgate={session}")]).await;
    let kept: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(kept, ["a=1; Path=/", "b=linkgate"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_cannot_set_them_in_an_early_hint_either() {
    let gate = Gate::start().await;
    let session = session_cookie(&gate, "ada@example.com").await;
    gate.recorder.answer_with(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: linkgate=x\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    let mut wire = gate.wire().await;
    wire.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nCookie: linkgate={session}\r\n\r\n"))
        .await;
    let early = wire.head().await;
    assert!(early.starts_with("HTTP/1.1 103 ") && early.contains("</a.css>"), "{early}");
    assert!(!early.to_ascii_lowercase().contains("set-cookie"), "{early}");
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_session_cookies_none_counts_unless_one_alone_is_ours() {
    let gate = Gate::start().await;
    let ada = session_cookie(&gate, "ada@example.com").await;
    let eve = session_cookie(&gate, "eve@example.com").await;
    let forged = format!("{}{}", if ada.starts_with('A') { 'B' } else { 'A' }, &ada[1..]);
    for (values, signed_in) in [
        (&["ADA"][..], true),
        (&["ADA", "garbage"], true),
        (&["garbage", "ADA"], true),
        (&["FORGED", "ADA"], true),
        (&["ADA", "FORGED", "garbage"], true),
        (&["ADA", "EVE"], false),
        (&["EVE", "ADA"], false),
        (&["ADA", "garbage", "EVE"], false),
        (&["ADA", "ADA"], false),
        (&["garbage", "1", "2", "3", "ADA"], false),
    ] {
        let name = |value: &str| value.replace("ADA", &ada).replace("EVE", &eve).replace("FORGED", &forged);
        let values: Vec<_> = values.iter().map(|value| format!("linkgate={}", name(value))).collect();
        let one = values.join("; ");
        let several: Vec<_> = values.iter().map(String::as_str).collect();
        for fields in [&[one.as_str()][..], &several] {
            let before = gate.recorder.requests().len();
            let answer = ask(&gate, fields).await;
            assert_eq!(answer.status, if signed_in { 200 } else { 401 }, "{fields:?}");
            let seen = gate.recorder.requests().split_off(before);
            let told: Vec<_> = seen.iter().flat_map(|request| request.values("x-forwarded-email")).collect();
            assert_eq!(told, if signed_in { vec!["ada@example.com"] } else { vec![] }, "{fields:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_cookie_with_any_byte_changed_signs_nobody_in() {
    let gate = Gate::start().await;
    let session = session_cookie(&gate, "ada@example.com").await;
    let mut others = vec![
        String::new(),
        format!("{session}="),
        format!("{session}A"),
        format!("\"{session}\""),
        format!("%{:X}{}", session.as_bytes()[0], &session[1..]),
        session[..session.len() - 1].to_owned(),
        session.to_ascii_lowercase(),
    ];
    for place in 0..session.len() {
        let replaced = [b'A', b'B', b'_', b'.', b'+', 0x80];
        for byte in replaced.into_iter().filter(|byte| *byte != session.as_bytes()[place]) {
            let mut changed = session.clone().into_bytes();
            changed[place] = byte;
            others.push(changed.into_iter().map(char::from).collect());
        }
    }
    // The last character has bits that say nothing: they must be as the gateway wrote them all the same.
    for byte in (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9') {
        others.push(format!("{}{}", &session[..session.len() - 1], char::from(byte)));
    }
    others.retain(|other| *other != session);
    for other in &others {
        assert_eq!(ask(&gate, &[&format!("linkgate={other}")]).await.status, 401, "{other:?}");
    }
    assert!(gate.recorder.requests().is_empty());
    // From now on the session is in memory, where the store is not asked.
    assert_eq!(ask(&gate, &[&format!("linkgate={session}")]).await.status, 200);
    for other in &others {
        assert_eq!(ask(&gate, &[&format!("linkgate={other}")]).await.status, 401, "in memory: {other:?}");
    }
    assert_eq!(gate.recorder.requests().len(), 1);
    assert_eq!(ask(&gate, &[&format!("linkgate={session}")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_that_make_no_sense_sign_nobody_in_and_break_nothing() {
    let gate = Gate::start().await;
    let session = session_cookie(&gate, "ada@example.com").await;
    let many = |value: &str| vec![format!("linkgate={value}"); 200].join("; ");
    for (cookies, status) in [
        (vec!["linkgate".to_owned()], 401),
        (vec!["=".to_owned(), ";;;".to_owned(), ";=;".to_owned()], 401),
        (vec![format!("LINKGATE={session}")], 401),
        (vec![format!("linkgate ={session}")], 401),
        (vec![format!("__Host-linkgate={session}")], 401),
        (vec![format!("linkgate-browser={session}")], 401),
        (vec![format!("a=1, linkgate={session}")], 401),
        (vec![format!("$Version=1; linkgate=\"{session}\"")], 401),
        (vec![format!("linkgate={}", "\u{fffd}".repeat(100))], 401),
        (vec![many("x")], 401),
        (vec![many(&session)], 401),
        (vec![format!("linkgate={}", "x".repeat(30_000))], 401),
        (vec!["a=1".to_owned(); 90], 401),
        (vec!["a=1".to_owned(); 200], 431),
        (vec![format!("linkgate={}", "x".repeat(200_000))], 431),
    ] {
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        let answer = ask(&gate, &cookies).await;
        assert_eq!(answer.status, status, "{} fields like {:.100}", cookies.len(), cookies[0]);
    }
    assert!(gate.recorder.requests().is_empty());
}
