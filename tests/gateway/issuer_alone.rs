//! The issuer for other programs: as a program of its own, with TLS and client certificates, and beside a gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use linkgate::clock::Clock;
use linkgate::config::{Config, Purpose};
use linkgate::gateway::{self, Sockets};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authority::Authority;
use crate::harness::{Answer, PATIENCE, configuration, exchange, read_answer};
use crate::program::{Home, Process};
use crate::recorder::Recorder;

const SECRET: &str = "fedcba9876543210fedcba9876543210";

/// An issuer alone in development, with one client.
const ALONE: &str = r#"public_url = "http://localhost:8080"
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[session]
store = "sqlite:store.db"
[issuer]
mailbox = true
[[issuer.user]]
email = "ada@example.com"
[[issuer.client]]
id = "intranet"
secret_file = "secret"
redirect_uris = ["https://intranet.example.com/callback"]
"#;

fn home(text: &str) -> Home {
    let home = Home::with(text);
    home.write("secret", SECRET);
    home
}

/// `linkgate issuer` as a process.
struct Alone {
    process: Process,
    address: SocketAddr,
    admin_address: SocketAddr,
}

impl Alone {
    async fn start(home: &Home) -> Self {
        let process = home.spawn(&["issuer"]);
        let line = process.line("the issuer is running").await;
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        Self { address: address("listen"), admin_address: address("admin.listen"), process }
    }

    async fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        exchange(self.address, request(method, path, headers, body).as_bytes()).await
    }

    async fn bearer(&self) -> String {
        let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={SECRET}");
        let answer = self.call("POST", "/oidc/token", "", &form).await;
        format!("Authorization: Bearer {}\r\n", answer.json()["access_token"].as_str().unwrap())
    }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let host = if headers.contains("Host:") { "" } else { "Host: localhost:8080\r\n" };
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn a_program_signs_somebody_in_by_the_issuer_alone() {
    let home = home(ALONE);
    let alone = Alone::start(&home).await;
    let bearer = alone.bearer().await;
    let call = json!({
        "email": "ada@example.com", "redirect_uri": "https://intranet.example.com/callback", "state": "s",
    });
    let sent = alone.call("POST", "/cis/v1/auth/link/email/send", &bearer, &call.to_string()).await;
    assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    let mail = alone.call("GET", "/.linkgate/mailbox/latest?to=ada@example.com", "", "").await.json();
    let link = mail["link"].as_str().unwrap().strip_prefix("http://localhost:8080").unwrap().to_owned();

    // The page wears what the gateway's own pages wear.
    let page = alone.call("GET", &link, "Accept: text/html\r\n", "").await;
    assert_eq!(page.status, StatusCode::OK);
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(page.header(name), value);
    }
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(page.header("x-request-id").len(), 22);
    let style = page.body.split("/.linkgate/assets/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let style = alone.call("GET", &format!("/.linkgate/assets/{style}"), "", "").await;
    assert_eq!(style.status, StatusCode::OK);

    let token = link.split_once("token=").unwrap().1;
    let pressed = alone.call("POST", "/.linkgate/link", "", &format!("token={token}")).await;
    let target = url::Url::parse(pressed.header("location")).unwrap();
    assert_eq!(target.host_str(), Some("intranet.example.com"));
    let code = target.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let call = json!({ "code": code }).to_string();
    let tokens = alone.call("POST", "/cis/v1/auth/link/email/authenticate", &bearer, &call).await;
    assert_eq!(tokens.status, StatusCode::OK, "{tokens:?}");

    let found = alone.call("GET", "/cis/oidc/.well-known/openid-configuration", "", "").await.json();
    assert_eq!(found["issuer"], "http://localhost:8080");
    assert_eq!(found["token_endpoint"], "http://localhost:8080/cis/oidc/token");
}

#[tokio::test]
async fn what_is_not_there_is_refused_as_its_callers_expect() {
    let home = home(ALONE);
    let alone = Alone::start(&home).await;
    let nothing = alone.call("GET", "/cis/v1/nothing", "", "").await;
    assert_eq!((nothing.status, nothing.json()["error_code"].clone()), (StatusCode::NOT_FOUND, json!(404)));
    let wrong = alone.call("PUT", "/.linkgate/link", "Accept: text/html\r\n", "").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.header("allow"), "GET,HEAD,POST");
    // A page of another site, whose name leads here, reads no mail.
    let rebound = alone.call("GET", "/.linkgate/mailbox/latest?to=ada@example.com", "Host: evil.test\r\n", "").await;
    assert_eq!(rebound.status, StatusCode::MISDIRECTED_REQUEST);
    // Programs may know the API by another name.
    let known = alone.call("GET", "/cis/oidc/jwks", "Host: issuer.internal\r\n", "").await;
    assert_eq!(known.status, StatusCode::OK);
    assert!(alone.call("GET", "/.linkgate/sign-in", "", "").await.status == StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_tells_its_health_keeps_what_it_knows_and_stops_when_asked() {
    let home = home(ALONE);
    let alone = Alone::start(&home).await;
    let admin = async |alone: &Alone, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(alone.admin_address, request.as_bytes()).await
    };
    let ready = async { while admin(&alone, "/health/ready").await.status != StatusCode::OK {} };
    tokio::time::timeout(PATIENCE, ready).await.expect("it becomes ready");
    assert_eq!(admin(&alone, "/metrics").await.status, StatusCode::OK);
    let bearer = alone.bearer().await;
    alone.process.signal("TERM");
    let ended = alone.process.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains("stopped"), "{}", ended.stderr);

    let again = Alone::start(&home).await;
    let found = again.call("GET", "/cis/v1/users/email/ada@example.com", &bearer, "").await;
    assert_eq!(found.status, StatusCode::OK, "tokens outlive a restart");
}

#[tokio::test]
async fn check_keys_and_health_know_the_issuers_file() {
    let home = home(ALONE);
    let fine = home.run(&["check", "--issuer"]).await;
    assert_eq!((fine.code, fine.stdout.contains("gateway.toml: fine")), (Some(0), true), "{}", fine.stdout);
    let wrong = home.run(&["check"]).await;
    assert_eq!((wrong.code, wrong.stdout.contains("route: is missing")), (Some(2), true), "{}", wrong.stdout);
    assert!(wrong.stdout.contains("or check a file for `linkgate issuer` with `--issuer`"), "{}", wrong.stdout);

    let alone = Alone::start(&home).await;
    let count = async || {
        let keys = alone.call("GET", "/cis/oidc/jwks", "", "").await.json();
        keys["keys"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 1);
    let rotated = home.run(&["keys", "rotate"]).await;
    assert_eq!((rotated.code, rotated.stdout.starts_with("a new key is shown")), (Some(0), true), "{}", rotated.stderr);
    drop(alone);
    // What starts now shows it at once.
    let alone = Alone::start(&home).await;
    let keys = alone.call("GET", "/cis/oidc/jwks", "", "").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn failures_count_for_whom_a_trusted_proxy_names_and_for_nobody_that_others_name() {
    for (trusted, limited) in [("trusted_proxies = [\"127.0.0.0/8\"]\n", false), ("", true)] {
        let home = home(&format!("{trusted}{}", ALONE.replace("sqlite:store.db", "memory")));
        let config = Config::load_for(Purpose::IssuerAlone, &home.path().join("gateway.toml")).unwrap();
        let running = gateway::start_issuer(&config, Clock::system(), Sockets::default()).await.unwrap();
        let ask = async |secret: &str, forwarded: &str| {
            let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={secret}");
            let headers = format!("X-Forwarded-For: {forwarded}\r\n");
            exchange(running.address, request("POST", "/oidc/token", &headers, &form).as_bytes()).await.status
        };
        for _ in 0..30 {
            assert_eq!(ask("wrong", "203.0.113.7").await, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(ask(SECRET, "203.0.113.7").await, StatusCode::TOO_MANY_REQUESTS);
        let elsewhere = if limited { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
        assert_eq!(ask(SECRET, "203.0.113.8").await, elsewhere);
        running.stop().await;
    }
}

/// A certificate with its key, in PEM and as rustls wants them.
struct Identity {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    fn new(name: &str, authority: Option<&Authority>) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = match authority {
            Some(authority) => authority.sign(&params, &key),
            None => params.self_signed(&key).unwrap(),
        };
        Self {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }
}

/// Somebody who trusts `server` and shows `own`.
async fn connect(
    address: SocketAddr,
    server: &Identity,
    own: Option<&Identity>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    gateway::install_crypto();
    let mut roots = RootCertStore::empty();
    roots.add(server.der.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match own {
        Some(own) => {
            let key = PrivateKeyDer::try_from(own.key.clone()).unwrap();
            config.with_client_auth_cert(vec![own.der.clone()], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn over_tls(address: SocketAddr, server: &Identity, own: Option<&Identity>, request: &str) -> Answer {
    let exchanged = async {
        let mut stream = connect(address, server, own).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // Not every server says goodbye in TLS's own words.
        stream.read_to_end(&mut bytes).await.ok();
        bytes
    };
    read_answer(&tokio::time::timeout(PATIENCE, exchanged).await.expect("an answer comes"))
}

/// An issuer with TLS, and the two clients that are known by their certificates.
struct Secured {
    running: gateway::RunningIssuer,
    server: Identity,
    of_authority: Identity,
    by_itself: Identity,
    stranger: Identity,
    _home: Home,
}

impl Secured {
    async fn new() -> Self {
        let authority = Authority::new();
        let server = Identity::new("localhost", None);
        let of_authority = Identity::new("holder", Some(&authority));
        let by_itself = Identity::new("single", None);

        let text = format!(
            r#"{}
[[issuer.client]]
id = "holder"
authentication = "tls_client_auth"
certificate_subject = "CN=holder"
[[issuer.client]]
id = "single"
authentication = "self_signed_tls_client_auth"
certificate_file = "single.pem"
[issuer.tls]
certificate = "server.pem"
private_key = "server.key"
client_ca = "authority.pem"
"#,
            ALONE.replace("sqlite:store.db", "memory")
        );
        let home = home(&text);
        home.write("server.pem", &server.pem);
        home.write("server.key", &server.key_pem);
        home.write("authority.pem", &authority.pem());
        home.write("single.pem", &by_itself.pem);
        let config = Config::load_for(Purpose::IssuerAlone, &home.path().join("gateway.toml")).unwrap();
        let running = gateway::start_issuer(&config, Clock::system(), Sockets::default()).await.unwrap();
        let stranger = Identity::new("holder", None);
        Self { running, server, of_authority, by_itself, stranger, _home: home }
    }

    async fn call(&self, own: Option<&Identity>, request: &str) -> Answer {
        over_tls(self.running.address, &self.server, own, request).await
    }

    async fn token(&self, id: &str, own: Option<&Identity>) -> Answer {
        let form = format!("grant_type=client_credentials&client_id={id}");
        self.call(own, &request("POST", "/cis/oidc/token", "", &form)).await
    }
}

#[tokio::test]
async fn a_client_is_known_by_the_certificate_of_its_connection() {
    let secured = Secured::new().await;
    for (id, own, other) in
        [("holder", &secured.of_authority, &secured.by_itself), ("single", &secured.by_itself, &secured.of_authority)]
    {
        let answer = secured.token(id, Some(own)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let bearer = format!("Authorization: Bearer {}\r\n", answer.json()["access_token"].as_str().unwrap());
        let call = request("GET", "/cis/v1/users/nobody", &bearer, "");
        assert_eq!(secured.call(Some(own), &call).await.status, StatusCode::NOT_FOUND);
        // Stolen, the token opens nothing.
        assert_eq!(secured.call(Some(other), &call).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(secured.call(None, &call).await.status, StatusCode::UNAUTHORIZED);
        for wrong in [Some(other), Some(&secured.stranger), None] {
            assert_eq!(secured.token(id, wrong).await.status, StatusCode::UNAUTHORIZED);
        }
    }
    // Clients with a secret need no certificate, and one that they have makes no difference.
    let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={SECRET}");
    for own in [None, Some(&secured.stranger)] {
        let answer = secured.call(own, &request("POST", "/oidc/token", "", &form)).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    secured.running.stop().await;
}

/// A browser that notes whether it was asked for a certificate.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl rustls::client::ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn browsers_are_asked_for_a_certificate_only_where_some_client_has_one() {
    let is_asked = async |address: SocketAddr, server: &Identity| {
        let asked = Arc::new(Asked::default());
        let mut roots = RootCertStore::empty();
        roots.add(server.der.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_client_cert_resolver(asked.clone());
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        asked.0.load(Ordering::SeqCst)
    };
    let secured = Secured::new().await;
    assert!(is_asked(secured.running.address, &secured.server).await);
    secured.running.stop().await;

    let server = Identity::new("localhost", None);
    let tls = "[issuer.tls]\ncertificate = \"server.pem\"\nprivate_key = \"server.key\"\n";
    let home = home(&format!("{}{tls}", ALONE.replace("sqlite:store.db", "memory")));
    home.write("server.pem", &server.pem);
    home.write("server.key", &server.key_pem);
    let config = Config::load_for(Purpose::IssuerAlone, &home.path().join("gateway.toml")).unwrap();
    let running = gateway::start_issuer(&config, Clock::system(), Sockets::default()).await.unwrap();
    assert!(!is_asked(running.address, &server).await);
    running.stop().await;
}

#[tokio::test]
async fn plain_text_and_a_borrowed_certificate_get_nowhere() {
    let secured = Secured::new().await;
    let mut plain = TcpStream::connect(secured.running.address).await.unwrap();
    plain.write_all(request("GET", "/cis/oidc/jwks", "", "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("it is closed").ok();
    assert!(!answer.starts_with(b"HTTP"), "TLS is not optional");

    // The certificate of a client, without its key.
    let borrowed = Identity { der: secured.of_authority.der.clone(), ..Identity::new("holder", None) };
    let key = PrivateKeyDer::try_from(borrowed.key.clone()).unwrap();
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![borrowed.der.clone()], signing);
    let mut roots = RootCertStore::empty();
    roots.add(secured.server.der.clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let stream = TcpStream::connect(secured.running.address).await.unwrap();
    let connected =
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await;
    let mut bytes = Vec::new();
    if let Ok(mut stream) = connected {
        // With TLS 1.3 the client is done before the server has judged it.
        stream.write_all(request("GET", "/cis/oidc/jwks", "", "").as_bytes()).await.ok();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is closed").ok();
    }
    assert_eq!(bytes, b"", "the handshake fails");
    // One slow or wrong handshake holds up nobody.
    let _silent = TcpStream::connect(secured.running.address).await.unwrap();
    assert_eq!(secured.call(None, &request("GET", "/cis/oidc/jwks", "", "")).await.status, StatusCode::OK);
    secured.running.stop().await;
}

#[tokio::test]
async fn a_gateways_issuer_serves_other_programs_where_it_is_told_to() {
    let home = home("");
    let text = configuration(SocketAddr::from(([127, 0, 0, 1], 1)));
    let text = text.replace(
        "[[issuer.user]]",
        "listen = \"127.0.0.1:0\"\n[[issuer.client]]\nid = \"intranet\"\nsecret_file = \"secret\"\n[[issuer.user]]",
    );
    let config =
        Config::parse(&text, &home.path().join("gateway.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let running = gateway::start(&config, Clock::system(), Sockets::default()).await.unwrap();
    let open = running.open_issuer_address.unwrap();
    let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={SECRET}");
    let answer = exchange(open, request("POST", "/oidc/token", "", &form).as_bytes()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let found = exchange(open, request("GET", "/cis/oidc/.well-known/openid-configuration", "", "").as_bytes()).await;
    assert_eq!(found.json()["token_endpoint"], format!("http://{open}/cis/oidc/token"));
    assert_eq!(found.json()["issuer"], "http://localhost:8080/.linkgate/issuer");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_programs_user_passes_the_gateway_with_an_access_token() {
    let home = home("");
    let recorder = Recorder::start().await;
    let text = configuration(recorder.address).replace(
        "[[issuer.user]]",
        "listen = \"127.0.0.1:0\"\n[[issuer.client]]\nid = \"intranet\"\nsecret_file = \"secret\"\n\
         redirect_uris = [\"https://intranet.example.com/callback\"]\n[[issuer.user]]",
    ) + "bearer = true\n";
    let config =
        Config::parse(&text, &home.path().join("gateway.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let running = gateway::start(&config, Clock::system(), Sockets::default()).await.unwrap();
    let open = running.open_issuer_address.unwrap();
    let ask = async |address, method, path: &str, headers: &str, body: &str| {
        exchange(address, request(method, path, headers, body).as_bytes()).await
    };
    let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={SECRET}");
    let client = ask(open, "POST", "/oidc/token", "", &form).await.json()["access_token"].clone();
    let client = format!("Authorization: Bearer {}\r\n", client.as_str().unwrap());
    let call = json!({
        "email": "root@example.com", "redirect_uri": "https://intranet.example.com/callback", "state": "s",
    });
    let sent = ask(open, "POST", "/cis/v1/auth/link/email/send", &client, &call.to_string()).await;
    assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    let mail = ask(running.address, "GET", "/.linkgate/mailbox/latest?to=root@example.com", "", "").await.json();
    let token = mail["link"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
    let pressed = ask(running.address, "POST", "/.linkgate/link", "", &format!("token={token}")).await;
    let target = url::Url::parse(pressed.header("location")).unwrap();
    let code = target.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let call = json!({ "code": code }).to_string();
    let tokens = ask(open, "POST", "/cis/v1/auth/link/email/authenticate", &client, &call).await.json();
    let user = format!("Authorization: Bearer {}\r\n", tokens["access_token"].as_str().unwrap());

    assert_eq!(ask(running.address, "GET", "/reports", &user, "").await.status, StatusCode::OK);
    let received = recorder.only();
    assert_eq!(received.values("x-forwarded-email"), ["root@example.com"]);
    assert_eq!(received.values("x-forwarded-groups"), ["ops,on%2C call"]);
    assert_eq!(received.values("x-forwarded-roles"), ["admin"]);
    assert_eq!(received.values("authorization"), [""; 0]);
    // The program itself is nobody.
    let refused = ask(running.address, "GET", "/reports", &client, "").await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!("client_token")));
    running.stop().await;
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let home = home(text);
    let found = Config::parse_for(Purpose::IssuerAlone, text, &home.path().join("gateway.toml")).err();
    let found: Vec<Value> = found
        .iter()
        .flat_map(|problems| problems.iter())
        .map(|problem| json!(format!("{}: {}", problem.key, problem.message)))
        .collect();
    assert_eq!(found, expected, "for\n{text}");
}

#[test]
fn the_issuers_file_says_what_is_wrong_with_it() {
    check(ALONE, &[]);
    let client = "[[issuer.client]]\nid = \"x\"\n";
    let with = |more: &str| format!("{ALONE}{client}{more}");
    check(&with(""), &["issuer.client[1].secret_file: is missing"]);
    check(
        &with("secret_file = \"none\""),
        &["issuer.client[1].secret_file: the file cannot be read: No such file or directory (os error 2)"],
    );
    check(
        &with("secret_env = \"CARGO_PKG_NAME\""),
        &["issuer.client[1].secret_env: the secret is shorter than 32 characters"],
    );
    check(
        &with("secret_file = \"secret\"\nsecret_env = \"X\""),
        &["issuer.client[1].secret_env: stands beside `secret_file`, and there is only one secret"],
    );
    check(
        &with("secret_file = \"secret\"\ncertificate_file = \"secret\""),
        &["issuer.client[1].certificate_file: belongs to `self_signed_tls_client_auth`, and `authentication` is \
         `client_secret_basic`"],
    );
    check(
        &with("authentication = \"private_key_jwt\""),
        &["issuer.client[1].public_key_file: is missing: `private_key_jwt` needs it"],
    );
    check(
        &with("authentication = \"tls_client_auth\"\ncertificate_subject = \"CN=x\""),
        &["issuer.client[1].authentication: needs TLS, and there is no [issuer.tls]"],
    );
    check(
        &with("secret_file = \"secret\"\nredirect_uris = [\"/x\"]\napplication = \" \""),
        &[
            "issuer.client[1].redirect_uris: expected whole URLs without \"#\", like \"https://app.example.com/callback\"",
            "issuer.client[1].application: must be 1 to 60 characters on one line",
        ],
    );
    check(
        &with("secret_file = \"secret\"").replace("id = \"x\"", "id = \"intranet\""),
        &["issuer.client[1].id: is also the name of issuer.client[0]"],
    );
    check(
        &with("secret_file = \"secret\"").replace("id = \"x\"", "id = \"a b\""),
        &["issuer.client[1].id: must be 1 to 64 ASCII characters without blanks"],
    );
    check(
        &ALONE.replace("mailbox = true", "mailbox = true\nkey_lifetime = \"1d\"\nlisten = \"127.0.0.1:1\""),
        &[
            "issuer.key_lifetime: must be between 2d and 366d",
            "issuer.listen: is for the issuer of a gateway; alone it has `listen`",
        ],
    );
    check(
        &format!("{ALONE}[issuer.tls]\ncertificate = \"none\"\nprivate_key = \"none\""),
        &["issuer.tls.certificate: the file cannot be read: No such file or directory (os error 2)"],
    );
    check("public_url = \"http://localhost:8080\"\n", &[": there is no [issuer] to run"]);
    check(
        &format!("{ALONE}[mosaic]\nregion = \"eu\"\nclient_id = \"x\"\nclient_secret_file = \"secret\""),
        &["mosaic: has no part in the issuer alone"],
    );
}

#[tokio::test]
async fn a_reload_changes_the_log_level_and_says_what_waits() {
    let home = home(ALONE);
    let alone = Alone::start(&home).await;
    home.write("gateway.toml", &format!("{ALONE}acess = 1\n"));
    alone.process.signal("HUP");
    alone.process.text_line("the configuration was not reloaded").await;
    let changed = ALONE.replace("mailbox = true", "mailbox = true\nkey_lifetime = \"9d\"");
    home.write("gateway.toml", &format!("{changed}[log]\nlevel = \"debug\"\n"));
    alone.process.signal("HUP");
    let line = alone.process.line("the configuration was reloaded").await;
    assert_eq!((&line["applied"], &line["waiting"]), (&1.into(), &1.into()), "{line}");
    alone.process.text_line("issuer.key_lifetime changes from 30d to 9d: waits for a restart").await;
    alone.bearer().await;
    alone.process.signal("TERM");
    assert_eq!(alone.process.ended().await.code, Some(0));
}

#[test]
fn what_is_doubtful_about_the_issuer_is_a_warning() {
    let home = home(ALONE);
    let warnings = |purpose: Purpose, text: &str| -> Vec<String> {
        let config = Config::parse_for(purpose, text, &home.path().join("gateway.toml"));
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        config.warnings().iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
    };
    let open = "issuer.client[0].secret_file: other users of this machine can read or change the secret";
    assert_eq!(warnings(Purpose::IssuerAlone, ALONE), [open]);
    let gateway = format!("{ALONE}[[route]]\nupstream = \"demo\"\n");
    let unreachable = "issuer.client: nobody but the gateway can reach the issuer";
    assert_eq!(warnings(Purpose::Gateway, &gateway), [unreachable, open]);
    let beyond = gateway.replace("mailbox = true", "mailbox = true\nlisten = \"0.0.0.0:9190\"");
    let without_tls = "issuer.listen: secrets and tokens cross the network without TLS";
    assert_eq!(warnings(Purpose::Gateway, &beyond), [without_tls, open]);
    let nobody = ALONE.split("[[issuer.client]]").next().unwrap();
    assert_eq!(warnings(Purpose::IssuerAlone, nobody), ["issuer: no program may call the issuer: it has no clients"]);
    let text = gateway.replace("id = \"intranet\"", "id = \"linkgate\"");
    let refused = Config::parse(&text, &home.path().join("gateway.toml")).err().unwrap();
    assert_eq!(
        refused.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(),
        ["is the name of the gateway's own client",]
    );
}
