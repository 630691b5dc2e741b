//! Connections to an application that wait for the next request, whoever it is from.

use tokio::net::TcpListener;

use crate::upstreams::{gate_before, listen, request};
use crate::wire::Wire;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Has nobody else connected meanwhile.
async fn assert_no_other(application: &TcpListener) {
    tokio::select! {
        biased;
        _ = application.accept() => panic!("another connection was made"),
        () = tokio::task::yield_now() => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_whoever_comes_next() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    let mut visitors = [gate.wire().await, gate.wire().await];
    visitors[0].send(request("GET /first", "")).await;
    let mut kept = Wire::accept(&application).await;
    kept.head().await;
    kept.send(OK).await;
    assert_eq!(visitors[0].answer().await.body, "ok");
    for (turn, (line, fields, answer, body)) in [
        ("GET /a", "Connection: keep-alive\r\nTE: trailers\r\n", OK, "ok"),
        ("HEAD /b", "", "HTTP/1.1 200 OK\r\nX-Length: 2\r\n\r\n", ""),
        ("GET /c", "", "HTTP/1.1 304 Not Modified\r\nETag: \"c\"\r\n\r\n", ""),
        ("DELETE /d", "", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("GET /e", "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
        ("OPTIONS /f", "Content-Length: 0\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </f>\r\n\r\n", ""),
        ("GET /g", "Connection: close\r\n", OK, "ok"),
    ]
    .into_iter()
    .enumerate()
    {
        let visitor = &mut visitors[turn % 2];
        visitor.send(request(line, fields)).await;
        let seen = kept.head().await.to_lowercase();
        assert!(seen.starts_with(&line.to_lowercase()), "{seen}");
        assert!(!seen.contains("\r\nconnection:") && !seen.contains("\r\nte:"), "{seen}");
        kept.send(answer).await;
        if answer.contains(" 103 ") {
            assert!(visitor.head().await.contains("</f>"));
            kept.send(OK).await;
            assert_eq!(visitor.answer().await.body, "ok");
        } else {
            assert_eq!(visitor.answer().await.body, body, "{line}");
        }
        assert_no_other(&application).await;
    }
    assert_eq!(visitors[0].rest().await, "", "who asked for it was closed upon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_asked_for_is_nobodys() {
    let application = listen().await;
    let gate = gate_before(&application, "retries = 0").await;
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    // With the answer that was asked for, after it, and after it with no time to look at the connection in between.
    for (is_at_once, is_noticed) in [(true, true), (false, true), (false, false)] {
        let mut ada = gate.wire().await;
        ada.send(request("GET /ada", "")).await;
        let mut odd = Wire::accept(&application).await;
        odd.head().await;
        if is_at_once {
            odd.send(format!("{OK}{stray}")).await;
            assert_eq!(ada.answer().await.body, "ok");
        } else {
            odd.send(OK).await;
            assert_eq!(ada.answer().await.body, "ok");
            odd.send(stray).await;
        }
        if is_noticed {
            assert_eq!(odd.rest().await, "", "the connection is given up");
        }
        let mut bob = gate.wire().await;
        bob.send(request("GET /bob", "Connection: close\r\n")).await;
        let mut next = Wire::accept(&application).await;
        assert!(next.head().await.starts_with("GET /bob"));
        next.send(OK.replace("200 OK", "200 OK\r\nConnection: close")).await;
        assert_eq!(bob.answer().await.body, "ok");
        if !is_noticed {
            assert_eq!(odd.rest().await, "", "the connection is given up");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_application_closes_is_closed_whether_it_is_wanted_or_not() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    let mut wire = gate.wire().await;
    wire.send(request("GET /", "")).await;
    let mut closing = Wire::accept(&application).await;
    closing.head().await;
    closing.send(OK).await;
    assert_eq!(wire.answer().await.body, "ok");
    closing.finish().await;
    assert_eq!(closing.rest().await, "", "nobody has asked for anything");
    wire.send(request("GET /", "")).await;
    let mut next = Wire::accept(&application).await;
    next.head().await;
    next.send(OK).await;
    assert_eq!(wire.answer().await.body, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_ends_with_its_connection_is_whole_and_the_visitors_goes_on() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    let mut wire = gate.wire().await;
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        wire.send(request("GET /", "")).await;
        let mut old = Wire::accept(&application).await;
        old.head().await;
        old.send(format!("{version} 200 OK\r\n\r\nfirst,")).await;
        assert!(wire.head().await.to_lowercase().contains("transfer-encoding: chunked"));
        wire.until("first,\r\n").await;
        old.send(" last").await;
        drop(old);
        assert_eq!(wire.until("0\r\n\r\n").await, "5\r\n last\r\n0\r\n\r\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_is_not_answered_to_the_end() {
    let application = listen().await;
    let gate = gate_before(&application, "").await;
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"] {
        let mut wire = gate.wire().await;
        wire.send(request("GET /", "")).await;
        let mut slow = Wire::accept(&application).await;
        slow.head().await;
        slow.send(begun).await;
        if !begun.is_empty() {
            wire.until("only this").await;
        }
        drop(wire);
        assert_eq!(slow.rest().await, "", "the application is let go");
    }
}
