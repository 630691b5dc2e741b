//! How our client proves who it is: by a secret, a signed statement, or a certificate.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linkgate::mosaic::Config;
use linkgate::secret::{from_base64url, random_token, sha256};

use super::*;

mod certificates;

/// A directory of one story's own, removed with its files at the end.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(random_token().expose());
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let file = self.0.join(name);
        fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// `[mosaic]` at `base_url` with `settings`.
    fn connection(base_url: &str, settings: &str) -> Connection {
        let settings =
            format!("base_url = \"{base_url}\"\nissuer = \"{ISSUER}\"\nclient_id = \"client-1\"\n{settings}");
        toml::from_str::<Config>(&settings).unwrap().connection().unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A directory that stays behind harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The requests for a token that a client with `settings` makes, one for each of two sends, and where they go.
async fn token_requests(settings: &str) -> (Vec<Request>, String) {
    let story = Story::start().await;
    story.answers("POST", SEND, sent()).await;
    let connection = Files::connection(&story.server.uri(), settings);
    let mosaic = client_with(connection, &story.clock, Duration::from_secs(10), &metrics());
    for _ in 0..2 {
        send(&mosaic).await.unwrap();
        story.clock.advance(Duration::from_secs(3600));
    }
    (story.requests("/oidc/token").await, format!("{}/oidc/token", story.server.uri()))
}

fn form(request: &Request) -> Vec<(String, String)> {
    assert_eq!(header(request, "content-type"), Some("application/x-www-form-urlencoded"));
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

#[tokio::test]
async fn http_basic_carries_both_halves_encoded_as_in_a_form() {
    let files = Files::new();
    let secret = files.write("secret", "s:e c&ret+ü\n");
    let settings = format!("client_authentication = \"client_secret_basic\"\nclient_secret_file = \"{secret}\"");
    let (requests, _) = token_requests(&settings).await;
    let expected = format!("Basic {}", STANDARD.encode("client-1:s%3Ae+c%26ret%2B%C3%BC"));
    assert_eq!(header(&requests[0], "authorization"), Some(&*expected));
    let expected = [("grant_type", "client_credentials"), ("client_id", "client-1")];
    assert_eq!(form(&requests[0]), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// The header and the claims of the statement in a request whose signature `verifies`.
fn assertion(request: &Request, verifies: impl Fn(&[u8], &[u8]) -> bool) -> (Value, Value) {
    assert_eq!(header(request, "authorization"), None);
    let form = form(request);
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "client_id", "client_assertion_type", "client_assertion"]);
    assert_eq!(form[1].1, "client-1");
    assert_eq!(form[2].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let (signed, signature) = form[3].1.rsplit_once('.').unwrap();
    assert!(verifies(signed.as_bytes(), &from_base64url(signature).unwrap()), "the signature");
    let part = |text: &str| serde_json::from_slice(&from_base64url(text).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    (part(header), part(claims))
}

#[tokio::test]
async fn a_private_rsa_key_signs_a_statement_for_each_request() {
    let files = Files::new();
    let pkcs8: Pkcs8V1Der<'_> = KEY.as_der().unwrap();
    let pkcs8 = pkcs8.as_ref();
    // Behind 26 bytes of PrivateKeyInfo there is the RSAPrivateKey of a 2048-bit key.
    let (pkcs8, pkcs1) = (pem("PRIVATE KEY", pkcs8), pem("RSA PRIVATE KEY", &pkcs8[26..]));
    let public = &key_set()["keys"][0];
    let thumbprint = format!("{{\"e\":{},\"kty\":\"RSA\",\"n\":{}}}", public["e"], public["n"]);
    let thumbprint = base64url(&sha256(thumbprint.as_bytes()));
    for (pem, key_id) in [(&pkcs8, None), (&pkcs1, None), (&pkcs8, Some("key-7"))] {
        let key = files.write("key.pem", pem);
        let named = key_id.map(|id| format!("private_key_id = \"{id}\"")).unwrap_or_default();
        let settings = format!("client_authentication = \"private_key_jwt\"\nprivate_key_file = \"{key}\"\n{named}");
        let (requests, token_url) = token_requests(&settings).await;
        let verifies = |signed: &[u8], signature: &[u8]| {
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, KEY.public_key());
            key.verify(signed, signature).is_ok()
        };
        let [(head, first), (_, second)] = [0, 1].map(|at| assertion(&requests[at], verifies));
        assert_eq!(head, json!({"typ": "JWT", "alg": "RS256", "kid": key_id.unwrap_or(&thumbprint)}));
        let expected = json!({
            "iss": "client-1", "sub": "client-1", "aud": token_url, "iat": NOW, "exp": NOW + 60, "jti": first["jti"],
        });
        assert_eq!(first, expected);
        assert_eq!(second["iat"], NOW + 3600);
        assert!(first["jti"].as_str().unwrap().len() >= 20 && first["jti"] != second["jti"]);
    }
}

#[tokio::test]
async fn a_second_try_has_a_statement_of_its_own() {
    let files = Files::new();
    let pkcs8: Pkcs8V1Der<'_> = KEY.as_der().unwrap();
    let key = files.write("key.pem", pem("PRIVATE KEY", pkcs8.as_ref()));
    let story = Story::without_tokens().await;
    story.answers("POST", "/oidc/token", ResponseTemplate::new(503)).await;
    let settings = format!("client_authentication = \"private_key_jwt\"\nprivate_key_file = \"{key}\"");
    let connection = Files::connection(&story.server.uri(), &settings);
    let mosaic = client_with(connection, &story.clock, Duration::from_secs(10), &metrics());
    send(&mosaic).await.unwrap_err();
    let requests = story.requests("/oidc/token").await;
    let [first, second] = [0, 1].map(|at| assertion(&requests[at], |_, _| true).1["jti"].clone());
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_private_p_256_key_signs_as_well() {
    let files = Files::new();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = files.write("key.pem", pair.serialize_pem());
    let settings = format!("client_authentication = \"private_key_jwt\"\nprivate_key_file = \"{key}\"");
    let (requests, _) = token_requests(&settings).await;
    let (head, claims) = assertion(&requests[0], |signed, signature| {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key_raw());
        key.verify(signed, signature).is_ok()
    });
    let [x, y] = [1..33, 33..65].map(|range| base64url(&pair.public_key_raw()[range]));
    let thumbprint = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
    assert_eq!(head, json!({"typ": "JWT", "alg": "ES256", "kid": base64url(&sha256(thumbprint.as_bytes()))}));
    assert_eq!(claims["iss"], "client-1");
}
