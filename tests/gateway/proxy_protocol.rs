//! Where a connection comes from, as a balancer says ahead of it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Gate, HOST, SECURE_HOST, read_answer, with_routes};
use crate::tls::{self, Files};

const PUBLIC: &str = "[[route]]\nupstream = UPSTREAM\naccess = \"public\"\nwhole_site = true\n";

fn behind_a_balancer(text: &str) -> String {
    format!("proxy_protocol = [\"127.0.0.0/8\"]\n{}", with_routes(text, PUBLIC))
}

fn request(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{fields}\r\n").into_bytes()
}

/// Version 2 with `command`, and what belongs to an IPv4 connection.
fn version_2(command: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, if addresses.is_empty() { 0 } else { 0x11 }]);
    header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    header.extend(addresses);
    header
}

const IPV4: [u8; 12] = [192, 0, 2, 77, 127, 0, 0, 1, 0xdc, 0x04, 0x1f, 0x90];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_visitor_is_whom_the_balancer_names() {
    let gate = Gate::with(|text| behind_a_balancer(&text)).await;
    let mut with_more = IPV4.to_vec();
    // An extension that nobody here knows (type, length, value).
    with_more.extend([0xee, 0, 3, 1, 2, 3]);
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 8080\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 56324 8080\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(1, &IPV4), "192.0.2.77"),
        (version_2(1, &with_more), "192.0.2.77"),
        (version_2(0, &[]), "127.0.0.1"),
    ] {
        for is_split in [false, true] {
            let mut wire = gate.wire().await;
            let request = request("X-Forwarded-For: 203.0.113.9\r\n");
            if is_split {
                let (start, end) = header.split_at(header.len() - 3);
                wire.send(start).await;
                tokio::task::yield_now().await;
                wire.send([end, &request].concat()).await;
            } else {
                wire.send([&header[..], &request].concat()).await;
            }
            assert_eq!(wire.answer().await.status, 200, "{}", header.escape_ascii());
            assert_eq!(gate.recorder.last().values("x-forwarded-for"), [expected], "{}", header.escape_ascii());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_that_names_nobody_is_given_up() {
    let change = |text: String| format!("{}[limits]\nhandshake_timeout = \"300ms\"\n", behind_a_balancer(&text));
    let gate = Gate::with(change).await;
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 5000]].concat();
    for bytes in [request(""), b"PROXY ".to_vec(), Vec::new(), b"PROXY TCP4 a b c d\r\n".to_vec(), endless] {
        let mut wire = gate.wire().await;
        wire.send(&bytes).await;
        assert_eq!(wire.rest().await, "", "{}", bytes.escape_ascii());
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_may_say_where_they_are_from() {
    let gate = Gate::with(|text| format!("proxy_protocol = [\"192.0.2.0/24\"]\n{}", with_routes(&text, PUBLIC))).await;
    for header in [b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 8080\r\n".to_vec(), version_2(1, &IPV4)] {
        let mut wire = gate.wire().await;
        wire.send([&header[..], &request("")].concat()).await;
        let rest = wire.rest_bytes().await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{}", rest.escape_ascii());
    }
    assert!(gate.recorder.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_before_tls() {
    let files = Files::new();
    let gate = tls::gate(&files, "", |text| behind_a_balancer(&text)).await;
    let mut stream = TcpStream::connect(gate.running.address).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 56324 8443\r\n").await.unwrap();
    let connector = TlsConnector::from(Arc::clone(&files.client(&["http/1.1"])));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {SECURE_HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert_eq!(read_answer(&answer).status, 200);
    assert_eq!(gate.recorder.last().values("x-forwarded-for"), ["192.0.2.7"]);
}
