//! On what terms servers are spoken to: over a socket of this machine, over TLS that both ends prove, in HTTP/2.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::harness::{Gate, with_routes};
use crate::upstreams::listen;

/// A directory of a story's own.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("linkgate-terms-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn gate(upstream: &str, settings: &str) -> Gate {
    let route = format!("[[route]]\naccess = \"public\"\nwhole_site = true\nupstream = \"{upstream}\"\n{settings}\n");
    Gate::with(|text| with_routes(&text, &route)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_this_machine_is_an_upstream_for_websockets_too() {
    let files = Files::new("socket");
    let socket = files.0.join("app.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let gate = gate(&format!("unix:{}", socket.display()), "host_header = \"upstream\"").await;
    let serving = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut head).await.unwrap() > 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            heads.push(String::from_utf8(head).unwrap().to_ascii_lowercase());
            if answer.contains("101") {
                let mut echoed = [0; 4];
                stream.read_exact(&mut echoed).await.unwrap();
                stream.write_all(&echoed).await.unwrap();
            }
        }
        heads
    });
    assert_eq!(gate.visitor().open("/").await.body, "ok");
    let mut wire = gate.wire().await;
    wire.send(
        "GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    wire.send("ping").await;
    assert_eq!(wire.until("ping").await, "ping");
    let heads = serving.await.unwrap();
    assert!(heads.iter().all(|head| head.contains("\r\nhost: localhost\r\n")), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_not_there_is_a_failure() {
    let gate = gate("unix:/nowhere/app.sock", "").await;
    assert_eq!(gate.visitor().program().open("/").await.json()["error"], "upstream_failed");
}

/// A server on TLS that tells which name it was asked for, and whether it was shown a certificate of `authority`.
async fn tls_server(authority: &Authority, name: &str, is_strict: bool) -> SocketAddr {
    linkgate::gateway::install_crypto();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(roots.into());
    let verifier = if is_strict { verifier } else { verifier.allow_unauthenticated() }.build().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = authority.sign(&CertificateParams::new([name.to_owned()]).unwrap(), &key);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let connection = stream.get_ref().1;
            let shown = connection.peer_certificates().map_or(0, <[_]>::len);
            let body = format!("{} {shown}", connection.server_name().unwrap_or("-"));
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let mut head = Vec::new();
            // Who does not trust the certificate says nothing.
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|length| length > 0) {}
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_believed_when_the_named_authority_vouches_for_its_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::new("authority");
    let server = tls_server(&authority, "app.internal", false).await;
    let (good, bad) = (files.write("good.pem", &authority.pem()), files.write("bad.pem", &other.pem()));
    let named = "server_name = \"app.internal\"";
    for (settings, expected) in [
        (format!("certificate_authority_file = \"{good}\"\n{named}"), Some("app.internal 0")),
        (format!("certificate_authority_file = \"{bad}\"\n{named}"), None),
        // That of the URL, which the certificate is not for.
        (format!("certificate_authority_file = \"{good}\""), None),
        (named.to_owned(), None),
        ("verify = false".to_owned(), Some("- 0")),
        (format!("verify = false\n{named}"), Some("app.internal 0")),
    ] {
        let gate = gate(&format!("https://{server}"), &format!("[route.upstream_tls]\n{settings}")).await;
        let answer = gate.visitor().program().open("/").await;
        match expected {
            Some(body) => assert_eq!(answer.body, body, "{settings}"),
            None => assert_eq!(answer.json()["error"], "upstream_failed", "{settings}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let authority = Authority::new();
    let files = Files::new("certificate");
    let server = tls_server(&authority, "app.internal", true).await;
    let trust = format!(
        "[route.upstream_tls]\nserver_name = \"app.internal\"\ncertificate_authority_file = \"{}\"\n",
        files.write("authority.pem", &authority.pem())
    );
    let show = |name: &str, authority: &Authority| {
        let key = KeyPair::generate().unwrap();
        let certificate = authority.sign(&CertificateParams::new(["gateway".to_owned()]).unwrap(), &key);
        let (certificate, key) = (
            files.write(&format!("{name}.pem"), &certificate.pem()),
            files.write(&format!("{name}-key.pem"), &key.serialize_pem()),
        );
        format!("{trust}certificate_file = \"{certificate}\"\ncertificate_key_file = \"{key}\"\n")
    };
    for (settings, is_let_in) in
        [(show("own", &authority), true), (show("foreign", &Authority::new()), false), (trust.clone(), false)]
    {
        let gate = gate(&format!("https://{server}"), &settings).await;
        let answer = gate.visitor().program().open("/").await;
        assert_eq!(answer.status == 200, is_let_in, "{answer:?}");
        assert!(!is_let_in || answer.body == "app.internal 1", "{answer:?}");
    }
}

/// A server in HTTP/2, without TLS, that answers with what it was sent and a trailer. Counts its connections.
async fn http2_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let (head, mut body) = request.into_parts();
                        let mut sent = format!("{} {} ", head.method, head.uri).into_bytes();
                        while let Some(Ok(data)) = body.data().await {
                            body.flow_control().release_capacity(data.len()).unwrap();
                            sent.extend_from_slice(&data);
                        }
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        stream.send_data(Bytes::from(sent), false).unwrap();
                        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(0))]);
                        stream.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_in_http2_gets_many_requests_on_one_connection() {
    let (address, connections) = http2_server().await;
    let gate = gate(&format!("http://{address}"), "http2 = true\nhost_header = \"app.internal\"").await;
    for turn in 0..5 {
        let answer = gate.visitor().send(Method::POST, &format!("/x?{turn}"), &[], "body").await;
        assert_eq!(answer.body, format!("POST http://app.internal/x?{turn} body"));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_speak_http2_where_requests_do() {
    let (address, _) = http2_server().await;
    let gate = gate(&format!("http://{address}"), "http2 = true\n[route.health]\ninterval = \"10ms\"").await;
    for _ in 0..20 {
        gate.visitor().open("/").await;
    }
    let metrics = gate.admin("/metrics").await.body;
    assert!(metrics.contains(&format!("linkgate_upstream_out{{upstream=\"http://{address}\"}} 0")), "{metrics}");
}
