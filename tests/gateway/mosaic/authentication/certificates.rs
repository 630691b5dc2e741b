//! A Mosaic that asks for a certificate (RFC 8705), and whose own is from a private authority.

use std::sync::Mutex;

use rcgen::{Certificate, CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::authority::Authority;

/// A certificate and its key.
struct Pair {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair { certificate: self.sign(&params(name, purpose), &key), key }
    }
}

fn params(name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    params
}

fn self_signed(name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    Pair { certificate: params(name, ExtendedKeyUsagePurpose::ClientAuth).self_signed(&key).unwrap(), key }
}

/// What was said on a connection: by whom, and the request as it came.
struct Seen {
    client: Vec<u8>,
    request: String,
}

/// A Mosaic on TLS that talks only to who shows a certificate that `trusted` vouches for.
struct Strict {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Strict {
    async fn start(own: &Pair, trusted: &Certificate) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
        let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        let config = config.with_single_cert(vec![own.certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let strict = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let seen = strict.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let answered = answer(stream).await;
                    seen.lock().unwrap().push(answered);
                }
            }
        });
        strict
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }
}

/// Reads one request, answers it, and closes.
async fn answer(mut stream: TlsStream<TcpStream>) -> Seen {
    let client = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut request = String::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        let length = stream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "the request is cut off: {request}");
        request.push_str(str::from_utf8(&chunk[..length]).unwrap());
    }
    let body = match request.split(' ').nth(1).unwrap() {
        "/oidc/token" => json!({"access_token": "token-1", "token_type": "Bearer", "expires_in": 3600}),
        "/cis/oidc/jwks" => key_set(),
        _ => json!({"message": "Email sent successfully"}),
    };
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.ok();
    Seen { client, request }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// The settings of a client that shows `pair`.
fn settings(files: &Files, method: &str, pair: &Pair) -> String {
    let certificate = files.write("client.pem", pair.certificate.pem());
    let key = files.write("client-key.pem", pair.key.serialize_pem());
    format!(
        "client_authentication = \"{method}\"\ncertificate_file = \"{certificate}\"\ncertificate_key_file = \"{key}\"\n"
    )
}

fn mosaic(base_url: &str, settings: &str) -> Mosaic {
    let clock = Clock::manual(at(NOW));
    client_with(Files::connection(base_url, settings), &clock, Duration::from_secs(10), &metrics())
}

#[tokio::test]
async fn the_certificate_is_shown_on_every_connection_and_takes_the_place_of_the_secret() {
    let authority = Authority::new();
    let server = authority.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let files = Files::new();
        let trust = format!("certificate_authority_file = \"{}\"\n", files.write("authority.pem", authority.pem()));
        let client = match method {
            "tls_client_auth" => authority.issue("client-1", ExtendedKeyUsagePurpose::ClientAuth),
            _ => self_signed("client-1"),
        };
        let vouching = if method == "tls_client_auth" { authority.certificate() } else { &client.certificate };
        let strict = Strict::start(&server, vouching).await;
        let mosaic = mosaic(&strict.url("localhost"), &(settings(&files, method, &client) + &trust));
        send(&mosaic).await.unwrap();
        mosaic.probe().await.unwrap();
        eventually(async || strict.seen.lock().unwrap().len() == 3).await;
        let seen = strict.seen.lock().unwrap();
        assert!(seen.iter().all(|seen| seen.client == client.certificate.der().to_vec()), "{method}");
        let (head, form) = seen[0].request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /oidc/token ") && !head.to_ascii_lowercase().contains("authorization"));
        assert_eq!(form, "grant_type=client_credentials&client_id=client-1");
        assert!(seen[1].request.to_ascii_lowercase().contains("authorization: bearer token-1"));
    }
}

#[tokio::test]
async fn nobody_is_talked_to_whose_certificate_does_not_hold() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = authority.issue("client-1", ExtendedKeyUsagePurpose::ClientAuth);
    let server = authority.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let strict = Strict::start(&server, authority.certificate()).await;
    let files = Files::new();
    let shown = settings(&files, "tls_client_auth", &client);
    let trusting = |name: &str, authority: &Authority| {
        format!("{shown}certificate_authority_file = \"{}\"", files.write(name, authority.pem()))
    };
    for (url, settings) in [
        (strict.url("localhost"), shown.clone()),
        (strict.url("localhost"), trusting("other.pem", &other)),
        // Another name than the one in the certificate.
        (strict.url("127.0.0.1"), trusting("authority.pem", &authority)),
    ] {
        let error = send(&mosaic(&url, &settings)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    }
    assert!(strict.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_the_right_certificate_there_is_no_connection() {
    let authority = Authority::new();
    let server = authority.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let strict = Strict::start(&server, authority.certificate()).await;
    let files = Files::new();
    let trust = format!("certificate_authority_file = \"{}\"\n", files.write("authority.pem", authority.pem()));
    let secret = format!("client_secret_file = \"{}\"\n", files.write("secret", "a-secret"));
    let foreign = settings(&files, "tls_client_auth", &self_signed("client-1"));
    for settings in [secret, foreign] {
        let error = send(&mosaic(&strict.url("localhost"), &(settings + &trust))).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    }
    assert!(strict.seen.lock().unwrap().is_empty());
}
