//! The four ways in which clients prove that they are themselves, and what each of them refuses.

use std::net::SocketAddr;

use axum::extract::connect_info::ConnectInfo;
use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use linkgate::issuer::tls;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::CertificateDer;

use super::clients::SecretFile;
use super::*;
use crate::authority::Authority;

const ASSERTION_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const NOW: i64 = 1_777_890_030;

fn with_client(client: Value) -> Config {
    Config { client: vec![serde_json::from_value(client).unwrap()], ..config() }
}

/// The answer of `router` to somebody with these certificates at that address.
async fn run_as(router: Router, path: &str, headers: &[(&str, &str)], form: &str, peer: tls::Peer) -> Answer {
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    let method = if form.is_empty() { Method::GET } else { Method::POST };
    run(router, method, path, headers, form).await
}

fn peer(certificates: &[&CertificateDer<'static>]) -> tls::Peer {
    let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    tls::Peer { address, certificates: certificates.iter().map(|der| (*der).clone()).collect() }
}

#[tokio::test]
async fn who_fails_too_often_waits() {
    let secret = SecretFile::new("limit", "fedcba9876543210fedcba9876543210");
    let world = World::with(with_client(json!({ "id": "intranet", "secret_file": secret.0 })), settings()).await;
    let ask = async |secret: &str, address: &str| {
        let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={secret}");
        let peer = tls::Peer { address: address.parse().unwrap(), certificates: Arc::new([]) };
        run_as(world.issuer.api(), "/oidc/token", &[], &form, peer).await
    };
    for _ in 0..30 {
        ask("wrong", "192.0.2.7:1").await.expect(401);
    }
    // The right one is not looked at any more, or the wrong ones would not have been limited.
    let refused = ask("fedcba9876543210fedcba9876543210", "192.0.2.7:2").await.expect(429);
    assert_eq!(
        (refused.text("error").as_str(), &refused.headers["retry-after"]),
        ("invalid_client", &http::HeaderValue::from_static("60"))
    );
    // Who guesses from one place locks nobody out of another.
    ask("fedcba9876543210fedcba9876543210", "192.0.2.8:1").await.expect(200);
    world.clock.advance(Duration::from_secs(60));
    ask("fedcba9876543210fedcba9876543210", "192.0.2.7:3").await.expect(200);
}

#[tokio::test]
async fn nobody_locks_the_gateway_out_of_its_own_issuer() {
    let world = World::new().await;
    for _ in 0..40 {
        world.form("/oidc/token", "grant_type=client_credentials&client_id=gate&client_secret=wrong").await.expect(401);
    }
    let form = format!("grant_type=client_credentials&client_id=gate&client_secret={CLIENT_SECRET}");
    world.form("/oidc/token", &form).await.expect(200);
    // Names that nobody has are limited together; the world has tried one before.
    for attempt in 1..30 {
        let form = format!("grant_type=client_credentials&client_id=nobody{attempt}&client_secret=x");
        world.form("/oidc/token", &form).await.expect(401);
    }
    world.form("/oidc/token", "grant_type=client_credentials&client_id=another&client_secret=x").await.expect(429);
}

/// A client that signs, and its key.
struct Signer {
    world: World,
    key: EncodingKey,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Signer {
    async fn new(name: &str, public: &str, key: EncodingKey, algorithm: Algorithm) -> Self {
        let file = SecretFile::new(name, public);
        let client = json!({
            "id": "signer", "authentication": "private_key_jwt", "public_key_file": file.0, "management": true,
        });
        Self { world: World::with(with_client(client), settings()).await, key, algorithm, kid: None }
    }

    async fn ec(name: &str) -> Self {
        let pair = KeyPair::generate().unwrap();
        Self::new(name, &pair.public_key_pem(), EncodingKey::from_ec_der(pair.serialized_der()), Algorithm::ES256).await
    }

    fn claims(jti: &str) -> Value {
        json!({
            "iss": "signer", "sub": "signer", "aud": "https://issuer.example.com/oidc/token",
            "exp": NOW + 300, "iat": NOW, "jti": jti,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.kid.clone(), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    async fn send(&self, assertion: &str) -> Answer {
        let form = format!(
            "grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}"
        );
        self.world.form("/oidc/token", &form).await
    }

    async fn status(&self, claims: &Value) -> u16 {
        self.send(&self.sign(claims)).await.status.as_u16()
    }
}

#[tokio::test]
async fn a_signed_statement_takes_the_place_of_a_secret() {
    let signer = Signer::ec("jwt").await;
    let token = signer.send(&signer.sign(&Signer::claims("1"))).await.expect(200).text("access_token");
    let claims = claims(&signer.world, &token).await;
    assert_eq!((&claims["sub"], &claims["roles"]), (&json!("signer"), &json!(["Admin"])));
    for (jti, audience) in [
        ("2", json!("https://issuer.example.com/cis/oidc/token")),
        ("3", json!("https://app.example.com/.linkgate/issuer")),
        ("4", json!(["x", "https://issuer.example.com/oidc/token"])),
    ] {
        let mut claims = Signer::claims(jti);
        claims["aud"] = audience;
        assert_eq!(signer.status(&claims).await, 200, "{claims}");
    }
}

#[tokio::test]
async fn a_signed_statement_is_good_once() {
    let signer = Signer::ec("once").await;
    let assertion = signer.sign(&Signer::claims("1"));
    signer.send(&assertion).await.expect(200);
    assert_eq!(signer.send(&assertion).await.expect(401).text("error"), "invalid_client");
    signer.send(&signer.sign(&Signer::claims("2"))).await.expect(200);
}

#[tokio::test]
async fn a_signed_statement_must_be_for_us_of_the_client_and_of_now() {
    let signer = Signer::ec("wrong").await;
    for (claim, wrong) in [
        ("iss", json!("gate")),
        ("sub", json!("gate")),
        ("aud", json!("https://app.example.com/oidc/token")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("exp", json!(NOW)),
        ("exp", json!(NOW + 661)),
        ("exp", json!(1e300)),
        ("exp", json!("1777890330")),
        ("exp", Value::Null),
        ("iat", json!(NOW + 61)),
        ("nbf", json!(NOW + 61)),
        ("jti", json!("")),
        ("jti", Value::Null),
    ] {
        let mut claims = Signer::claims("x");
        claims[claim] = wrong.clone();
        assert_eq!(signer.status(&claims).await, 401, "{claim} {wrong}");
    }
    // Within the difference that two clocks may have, and with a fraction.
    let mut fine = Signer::claims("y");
    fine["exp"] = json!(NOW as f64 + 600.5);
    fine["iat"] = json!(NOW + 60);
    assert_eq!(signer.status(&fine).await, 200);
}

#[tokio::test]
async fn a_signed_statement_needs_the_clients_key_and_its_algorithm() {
    let signer = Signer::ec("key").await;
    let other = EncodingKey::from_ec_der(KeyPair::generate().unwrap().serialized_der());
    let forged = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &Signer::claims("1"), &other).unwrap();
    signer.send(&forged).await.expect(401);
    // The public key as if it were a shared secret.
    let confused = EncodingKey::from_secret(b"key");
    let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &Signer::claims("2"), &confused).unwrap();
    signer.send(&confused).await.expect(401);
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Signer::claims("3").to_string());
    for unsigned in
        [format!("eyJhbGciOiJub25lIn0.{payload}."), format!("e30.{payload}.x"), "x".to_owned(), ".".to_owned()]
    {
        signer.send(&unsigned).await.expect(401);
    }
    let long = "x".repeat(20_000);
    signer.send(&signer.sign(&Signer::claims(&long))).await.expect(401);

    // Another method is not the client's, even where the proof would do.
    let form = "grant_type=client_credentials&client_id=signer&client_secret=";
    signer.world.form("/oidc/token", &format!("{form}x")).await.expect(401);
    signer.world.form("/oidc/token", "grant_type=client_credentials&client_id=signer").await.expect(401);
    let assertion = signer.sign(&Signer::claims("4"));
    let both = format!("{form}x&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}");
    assert_eq!(signer.world.form("/oidc/token", &both).await.expect(400).text("error"), "invalid_request");
    let untyped = format!("grant_type=client_credentials&client_assertion={assertion}");
    assert_eq!(signer.world.form("/oidc/token", &untyped).await.expect(400).text("error"), "invalid_request");
    let named = format!("{untyped}&client_assertion_type={ASSERTION_TYPE}&client_id=");
    signer.world.form("/oidc/token", &format!("{named}gate")).await.expect(401);
    signer.world.form("/oidc/token", &format!("{named}signer")).await.expect(200);
}

/// `RSAPrivateKey` out of PKCS #8, which is 26 bytes longer for 2048 bits.
fn rsa(pair: &KeyPair) -> EncodingKey {
    EncodingKey::from_rsa_der(&pair.serialized_der()[26..])
}

#[tokio::test]
async fn rsa_keys_sign_in_both_paddings_and_a_set_is_told_apart_by_name() {
    let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut signer = Signer::new("rsa", &pair.public_key_pem(), rsa(&pair), Algorithm::RS256).await;
    assert_eq!(signer.status(&Signer::claims("1")).await, 200);
    signer.algorithm = Algorithm::PS256;
    assert_eq!(signer.status(&Signer::claims("2")).await, 200);
    signer.algorithm = Algorithm::RS512;
    assert_eq!(signer.status(&Signer::claims("3")).await, 401);

    let jwk = |key: &EncodingKey, algorithm, id: &str| {
        let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(key, algorithm).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        json!(jwk)
    };
    let ec = EncodingKey::from_ec_der(KeyPair::generate().unwrap().serialized_der());
    let set = json!({ "keys": [jwk(&rsa(&pair), Algorithm::PS256, "old"), jwk(&ec, Algorithm::ES256, "new")] });
    let mut signer = Signer::new("set", &set.to_string(), ec, Algorithm::ES256).await;
    assert_eq!(signer.status(&Signer::claims("1")).await, 200);
    signer.kid = Some("new".to_owned());
    assert_eq!(signer.status(&Signer::claims("2")).await, 200);
    signer.kid = Some("old".to_owned());
    assert_eq!(signer.status(&Signer::claims("3")).await, 401);
    (signer.key, signer.algorithm) = (rsa(&pair), Algorithm::PS256);
    assert_eq!(signer.status(&Signer::claims("4")).await, 200);
    // The key says which algorithm it is for.
    signer.algorithm = Algorithm::RS256;
    assert_eq!(signer.status(&Signer::claims("5")).await, 401);
}

#[tokio::test]
async fn files_without_a_usable_key_are_refused() {
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
    let private = KeyPair::generate().unwrap().serialize_pem();
    let short = json!({ "keys": [{ "kty": "RSA", "n": "AQAB", "e": "AQAB" }] }).to_string();
    let shared = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    let empty = json!({ "keys": [] }).to_string();
    for (at, text) in [p384, ed25519, private, short, shared, empty, String::new()].iter().enumerate() {
        let file = SecretFile::new(&format!("unusable{at}"), text);
        let client = json!({ "id": "signer", "authentication": "private_key_jwt", "public_key_file": file.0 });
        let client = with_client(client).client.remove(0);
        let problems = client.problems(Path::new("/"));
        assert_eq!(problems.iter().map(|problem| problem.key).collect::<Vec<_>>(), ["public_key_file"], "{text}");
    }
}

/// A certificate for `name`, signed by an authority or by itself.
fn certificate(name: &[(DnType, &str)], authority: Option<&Authority>) -> rcgen::Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in name {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let key = KeyPair::generate().unwrap();
    match authority {
        Some(authority) => authority.sign(&params, &key),
        None => params.self_signed(&key).unwrap(),
    }
}

const BY_CERTIFICATE: &str = "grant_type=client_credentials&client_id=holder";

#[tokio::test]
async fn a_registered_certificate_takes_the_place_of_a_secret() {
    let own = certificate(&[(DnType::CommonName, "holder")], None);
    let other = certificate(&[(DnType::CommonName, "holder")], None);
    let file = SecretFile::new("self-signed", &own.pem());
    let client = json!({ "id": "holder", "authentication": "self_signed_tls_client_auth", "certificate_file": file.0 });
    let world = World::with(with_client(client), settings()).await;
    let ask = async |peer: tls::Peer| run_as(world.issuer.api(), "/cis/oidc/token", &[], BY_CERTIFICATE, peer).await;

    assert_eq!(ask(peer(&[])).await.expect(401).text("error"), "invalid_client");
    ask(peer(&[other.der()])).await.expect(401);
    // Sent along is not proven to be held.
    ask(peer(&[other.der(), own.der()])).await.expect(401);
    let token = ask(peer(&[own.der()])).await.expect(200).text("access_token");

    let thumbprint = linkgate::secret::base64url(&linkgate::secret::sha256(own.der()));
    assert_eq!(claims(&world, &token).await["cnf"], json!({ "x5t#S256": thumbprint }));
    // The token is of no use to anybody else.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let call = async |peer| run_as(world.issuer.api(), "/cis/v1/users/nobody", &headers, "", peer).await;
    call(peer(&[own.der()])).await.expect(404);
    call(peer(&[other.der()])).await.expect(401);
    call(peer(&[])).await.expect(401);
    run(world.issuer.api(), Method::GET, "/cis/v1/users/nobody", &headers, "").await.expect(401);
}

#[tokio::test]
async fn a_certificate_of_an_authority_takes_the_place_of_a_secret() {
    let (ours, theirs) = (Authority::named("authority"), Authority::named("authority"));
    let name =
        [(DnType::CountryName, "DE"), (DnType::OrganizationName, "Example, Inc."), (DnType::CommonName, "holder")];
    let own = certificate(&name, Some(&ours));
    let foreign = certificate(&name, Some(&theirs));
    let by_itself = certificate(&name, None);
    let colleague = certificate(&[(DnType::CommonName, "colleague")], Some(&ours));
    let ca = SecretFile::new("ca", &ours.pem());
    let client = json!({
        "id": "holder", "authentication": "tls_client_auth", "certificate_subject": r"CN=holder, O=Example\, Inc., C=DE",
    });
    let tls = json!({ "certificate": "unused", "private_key": "unused", "client_ca": ca.0 });
    let config = Config { tls: Some(serde_json::from_value(tls).unwrap()), ..with_client(client) };
    let world = World::with(config, settings()).await;
    let ask = async |certificate: &CertificateDer<'static>| {
        run_as(world.issuer.api(), "/oidc/token", &[], BY_CERTIFICATE, peer(&[certificate])).await
    };
    for wrong in [&foreign, &by_itself, &colleague] {
        ask(wrong.der()).await.expect(401);
    }
    let token = ask(own.der()).await.expect(200).text("access_token");
    assert!(claims(&world, &token).await["cnf"].is_object());
    // A renewed certificate of the same name is as good.
    ask(certificate(&name, Some(&ours)).der()).await.expect(200);
    // Its time is judged by the issuer's clock.
    world.clock.set(Timestamp::from_unix_seconds(67_200_000_000));
    ask(own.der()).await.expect(401);

    let path = "/cis/oidc/.well-known/openid-configuration";
    let found = run(world.issuer.api(), Method::GET, path, &[], "").await.expect(200).json();
    assert_eq!(found["tls_client_certificate_bound_access_tokens"], true);
    let methods = found["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(methods.contains(&json!("tls_client_auth")) && methods.contains(&json!("self_signed_tls_client_auth")));
}
