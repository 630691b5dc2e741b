//! TLS on the gateway's own listener: certificates by name, handshakes, the way from plain HTTP, visitors' certificates.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use linkgate::clock::Clock;
use linkgate::config::Config;
use linkgate::secret::random_token;
use linkgate::store::Shared;
use linkgate::store::memory::Memory;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::Authority;
use crate::harness::{Gate, SECURE_HOST, START, Visitor, exchange};
use crate::wire::Wire;

/// The files of a story, and who vouches for its certificates.
pub(crate) struct Files {
    pub(crate) authority: Authority,
    directory: PathBuf,
}

impl Files {
    pub(crate) fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("linkgate-tls-{}", random_token().expose()));
        fs::create_dir_all(&directory).unwrap();
        Self { authority: Authority::new(), directory }
    }

    /// Makes a certificate for `hosts` and its key, as `NAME.pem` and `NAME.key`.
    pub(crate) fn certify(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let certificate = self.authority.sign(&CertificateParams::new(hosts).unwrap(), &key);
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Visitors who trust the authority; `protocols` are offered in that order.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut config = self.builder().with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn builder(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.certificate().der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(roots)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// A gate with TLS for localhost and more hosts. `settings` go into `[tls]`, `change` over the whole text.
pub(crate) async fn gate(files: &Files, settings: &str, change: impl FnOnce(String) -> String) -> Gate {
    files.certify("localhost", &["localhost"]);
    let (certificate, key) = (files.path("localhost.pem"), files.path("localhost.key"));
    let clock = Clock::manual(START);
    let store: Shared = Arc::new(Memory::new(clock.clone()));
    let tls = format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{settings}\n[admin]");
    let mut gate = Gate::on(store, clock, |text| {
        change(text.replace("http://localhost:8080", "https://localhost:8443").replacen("[admin]", &tls, 1))
    })
    .await;
    gate.tls = Some(files.client(&["http/1.1"]));
    gate
}

/// A connection to the gate, whose certificate must be one for `name`.
pub(crate) async fn connect(
    gate: &Gate,
    tls: &Arc<ClientConfig>,
    name: &str,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let stream = TcpStream::connect(gate.running.address).await.unwrap();
    TlsConnector::from(Arc::clone(tls)).connect(name.to_owned().try_into().unwrap(), stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_in_over_tls() {
    let files = Files::new();
    let gate = gate(&files, "", |text| text).await;
    let mut ada = gate.visitor();
    let landed = ada.sign_in(&gate, "ada@example.com", "/page?x=1").await;
    assert_eq!(landed.location(), "/page?x=1");
    assert!(landed.set_cookies()[0].starts_with("__Host-linkgate="), "{landed:?}");
    let page = ada.open("/page?x=1").await;
    assert_eq!((page.status.as_u16(), page.header("strict-transport-security")), (200, "max-age=31536000"));
    let seen = gate.recorder.last();
    assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.values("host"), [SECURE_HOST]);
    assert_eq!(seen.values("x-forwarded-email"), ["ada@example.com"]);
    // Plain HTTP on that port is no request.
    let stream = TcpStream::connect(gate.running.address).await.unwrap();
    let mut wire = Wire::over(stream);
    wire.send(format!("GET / HTTP/1.1\r\nHost: {SECURE_HOST}\r\n\r\n")).await;
    assert!(!wire.rest_bytes().await.starts_with(b"HTTP/1.1 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_gets_the_certificate_that_names_it() {
    let files = Files::new();
    let wiki = files.certify("wiki", &["wiki.localhost", "*.pages.localhost"]);
    let more = format!(
        "[[tls.additional]]\ncertificate = {:?}\nprivate_key = {:?}",
        files.path("wiki.pem"),
        files.path("wiki.key")
    );
    let gate = gate(&files, &more, |text| text).await;
    let client = files.client(&["h2", "http/1.1"]);
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    for name in ["wiki.localhost", "a.pages.localhost"] {
        let stream = connect(&gate, &client, name).await.unwrap();
        assert_eq!(shown(&stream), wiki, "{name}");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }
    assert_ne!(shown(&connect(&gate, &client, "localhost").await.unwrap()), wiki);
    // The first of all, which visitors then refuse.
    for name in ["other.localhost", "pages.localhost", "a.b.pages.localhost"] {
        assert!(connect(&gate, &client, name).await.is_err(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_given_up() {
    let files = Files::new();
    let gate = gate(&files, "", |text| format!("{text}\n[limits]\nhandshake_timeout = \"200ms\"")).await;
    for hello in ["", "\u{16}\u{3}\u{1}\u{2}"] {
        let mut wire = Wire::connect(gate.running.address).await;
        wire.send(hello).await;
        assert_eq!(wire.rest().await, "");
    }
    crate::harness::eventually(async || gate.running.open_connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_leads_to_the_same_page_over_https() {
    let files = Files::new();
    let gate = gate(&files, "redirect_from = \"127.0.0.1:0\"", |text| text).await;
    let plain = gate.running.redirect_address.unwrap();
    let ask = async |line: &str, host: &str| {
        exchange(plain, format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await
    };
    for (line, host, location) in [
        ("GET /a/page?x=1&y=%2F", "localhost", "https://localhost:8443/a/page?x=1&y=%2F"),
        ("HEAD /", "LOCALHOST.:8080", "https://localhost:8443/"),
        ("GET /.linkgate/sign-in", "localhost", "https://localhost:8443/.linkgate/sign-in"),
    ] {
        let answer = ask(line, host).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (308, location), "{line}");
        assert_eq!(answer.header("strict-transport-security"), "", "said in the clear it is no promise");
        assert_eq!(answer.header("connection"), "close");
    }
    for (line, host, status, error) in [
        ("POST /form", "localhost", 403, "https_required"),
        ("GET /", "evil.test", 421, "unknown_host"),
        ("GET /a/../b", "localhost", 400, "bad_request"),
        ("GET /%0d%0aSet-Cookie:x", "localhost", 400, "bad_request"),
        ("TRACE /", "localhost", 405, "method_not_allowed"),
    ] {
        let answer = ask(line, host).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (status, Some(error)), "{line}");
    }
    assert!(gate.recorder.requests().is_empty());
}

/// Visitors who show a certificate of `authority` with the name `subject`.
fn showing(files: &Files, authority: &Authority, subject: &str) -> Arc<ClientConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, subject);
    let certificate = authority.sign(&params, &key);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = files.builder().with_client_auth_cert(vec![certificate.der().clone()], key).unwrap();
    Arc::new(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_learns_which_certificate_a_visitor_showed() {
    let files = Files::new();
    let people = Authority::new();
    fs::write(files.path("people.pem"), people.pem()).unwrap();
    let settings = format!("client_authorities = {:?}", files.path("people.pem"));
    let gate =
        gate(&files, &settings, |text| text.replace("[[route]]", "[[route]]\naccess = \"public\"\nwhole_site = true"))
            .await;
    let forged = [("x-forwarded-client-cert", "Hash=forged")];
    let mut nobody = gate.visitor();
    assert_eq!(nobody.send(Method::GET, "/", &forged, "").await.status, 200);
    assert_eq!(gate.recorder.last().values("x-forwarded-client-cert"), [""; 0]);

    let mut ada = Visitor { tls: Some(showing(&files, &people, "Ada \"L\"")), ..gate.visitor() };
    assert_eq!(ada.send(Method::GET, "/", &forged, "").await.status, 200);
    let seen = gate.recorder.last();
    let [shown] = seen.values("x-forwarded-client-cert")[..] else { panic!("{seen:?}") };
    let (hash, subject) = shown.split_once(';').unwrap();
    assert_eq!(hash.strip_prefix("Hash=").unwrap().len(), 64);
    assert_eq!(subject, r#"Subject="CN=Ada \"L\"""#);

    let stranger = showing(&files, &Authority::new(), "Eve");
    let refused = async {
        let mut stream = connect(&gate, &stranger, "localhost").await?;
        tokio::io::AsyncReadExt::read_u8(&mut stream).await
    };
    assert!(refused.await.is_err(), "nobody vouches for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_certificate_is_required_there_is_no_connection_without() {
    let files = Files::new();
    let people = Authority::new();
    fs::write(files.path("people.pem"), people.pem()).unwrap();
    let settings = format!("client_authorities = {:?}\nclient_certificates = \"required\"", files.path("people.pem"));
    let text = |text: String| text.replace("[[route]]", "[[route]]\naccess = \"public\"\nwhole_site = true");
    let gate = gate(&files, &settings, text).await;
    let mut ada = Visitor { tls: Some(showing(&files, &people, "Ada")), ..gate.visitor() };
    assert_eq!(ada.open("/").await.status, 200);
    let nobody = files.client(&["http/1.1"]);
    let refused = async {
        let mut stream = connect(&gate, &nobody, "localhost").await?;
        tokio::io::AsyncReadExt::read_u8(&mut stream).await
    };
    assert!(refused.await.is_err());
}

#[test]
fn what_is_wrong_with_tls_is_told_with_its_place() {
    let files = Files::new();
    files.certify("localhost", &["localhost"]);
    files.certify("other", &["other.localhost"]);
    fs::write(files.path("empty.pem"), "").unwrap();
    let problems = |url: &str, tls: &str| {
        let text = format!(
            "public_url = \"{url}\"\n[issuer]\nmailbox = true\n[[issuer.user]]\nemail = \"a@example.com\"\n[[route]]\nupstream = \"demo\"\n[tls]\n{tls}\n"
        );
        Config::parse(&text, &files.path("gateway.toml")).err().map_or_else(String::new, |problems| {
            problems.iter().map(|problem| format!("{}: {}\n", problem.key, problem.message)).collect()
        })
    };
    let check = |tls: &str, expected: &str| assert_eq!(problems("https://localhost:8443", tls), expected, "{tls}");
    check("certificate = 'localhost.pem'\nprivate_key = 'localhost.key'", "");
    check(
        "certificate = 'localhost.pem'\nprivate_key = 'other.key'",
        "tls.private_key: the key does not belong to the certificate, or is of a kind that is not supported\n",
    );
    check(
        "certificate = 'empty.pem'\nprivate_key = 'localhost.key'",
        "tls.certificate: the file must hold certificates in PEM, \"-----BEGIN CERTIFICATE-----\"\n",
    );
    check(
        "certificate = 'localhost.pem'\nprivate_key = 'localhost.key'\nclient_certificates = 'required'",
        "tls.client_authorities: is missing: `client_certificates` are required\n",
    );
    check(
        "certificate = 'localhost.pem'\nprivate_key = 'localhost.key'\nredirect_from = '127.0.0.1:8080'",
        "tls.redirect_from: is the address of `listen`, 127.0.0.1:8080\n",
    );
    assert_eq!(
        problems("http://localhost:8080", "certificate = 'localhost.pem'\nprivate_key = 'localhost.key'"),
        "public_url: is plain http:// although there is [tls]\n"
    );
}
