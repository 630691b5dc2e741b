//! The client of Mosaic's API against a scripted Mosaic: what is on the wire, and what becomes of each answer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use futures_util::future::join_all;
use linkgate::clock::{Clock, Timestamp};
use linkgate::identity::{EmailAddress, Identifier, Identity, Subject};
use linkgate::mosaic::{
    ClientAuthentication, Connection, Device, EmailContent, Error, Login, Mosaic, NewUser, SendMagicLink, Sent,
    SignedIn, Step, Timeouts, UserStatus, Wording, id_token,
};
use linkgate::secret::{Secret, base64url};
use linkgate::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::harness::eventually;

mod authentication;
mod breaker;
mod client_token;
mod codes;
mod metrics;
mod pauses;
mod reach;
mod redeeming;
mod sending;
mod sessions;
mod users;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://userid.test";
const SEND: &str = "/cis/v1/auth/link/email/send";
const AUTHENTICATE: &str = "/cis/v1/auth/link/email/authenticate";
const SILENT: &str = "/cis/v1/auth/session/authenticate";
const REFRESH: &str = "/cis/v1/auth/token/refresh";
const LOGOUT: &str = "/cis/v1/auth/session/logout";

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

pub(crate) fn sign(claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "kid": "k1"})), part(claims));
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", base64url(&signature))
}

pub(crate) fn key_set() -> Value {
    let public = KEY.public_key();
    let n = base64url(public.modulus().big_endian_without_leading_zero());
    let e = base64url(public.exponent().big_endian_without_leading_zero());
    json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "n": n, "e": e}]})
}

fn user_claims() -> Value {
    json!({"iss": ISSUER, "sub": "user-1", "tid": "t", "iat": NOW, "exp": NOW + 3600})
}

fn id_claims() -> Value {
    merged(
        user_claims(),
        json!({"aud": "client-1", "auth_time": NOW - 5, "email": "ada@example.com", "email_verified": true}),
    )
}

fn access_claims() -> Value {
    merged(user_claims(), json!({"aud": "userid-api", "client_id": "client-1", "roles": []}))
}

pub(crate) fn merged(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    object.as_object_mut().unwrap().extend(more);
    object
}

pub(crate) fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().unwrap().remove(member);
    object
}

/// The answer to every kind of login.
fn tokens(id_claims: &Value) -> Value {
    json!({
        "access_token": sign(&access_claims()), "id_token": sign(id_claims), "refresh_token": "refresh-1",
        "token_type": "Bearer", "expires_in": 3600, "session_id": "session-1",
    })
}

fn ada() -> EmailAddress {
    EmailAddress::parse("ada@example.com").unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::try_from(text.to_owned()).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

/// A scripted Mosaic and our client of it.
struct Story {
    server: MockServer,
    mosaic: Mosaic,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Story {
    /// A Mosaic that gives client tokens `token-1`, `token-2` … and its keys.
    async fn start() -> Self {
        let story = Self::without_tokens().await;
        story.give_tokens().await;
        story
    }

    async fn without_tokens() -> Self {
        let server = MockServer::start().await;
        let clock = Clock::manual(at(NOW));
        let metrics = metrics();
        let connection = connection(&server.uri(), &server.uri());
        let mosaic = client_with(connection, &clock, Duration::from_secs(10), &metrics);
        let story = Self { server, mosaic, clock, metrics };
        story.answers("GET", "/cis/oidc/jwks", ResponseTemplate::new(200).set_body_json(key_set())).await;
        story
    }

    async fn give_tokens(&self) {
        let count = AtomicU32::new(0);
        let give = move |_: &Request| {
            let token = format!("token-{}", count.fetch_add(1, Ordering::SeqCst) + 1);
            let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "openid"});
            ResponseTemplate::new(200).set_body_json(body)
        };
        Mock::given(method("POST")).and(path("/oidc/token")).respond_with(give).mount(&self.server).await;
    }

    async fn answers(&self, verb: &str, route: &str, answer: ResponseTemplate) {
        Mock::given(method(verb)).and(path(route)).respond_with(answer).mount(&self.server).await;
    }

    /// Gives a call another answer until what is given back is dropped.
    async fn meanwhile(&self, route: &str, answer: ResponseTemplate) -> Meanwhile {
        let (meanwhile, route) = (Meanwhile(Arc::new(AtomicBool::new(true))), route.to_owned());
        let lasts = meanwhile.0.clone();
        let matches = move |request: &Request| lasts.load(Ordering::SeqCst) && request.url.path() == route;
        Mock::given(matches).respond_with(answer).with_priority(1).mount(&self.server).await;
        meanwhile
    }

    async fn says(&self, route: &str, status: u16, body: &Value) {
        self.answers("POST", route, ResponseTemplate::new(status).set_body_json(body)).await;
    }

    async fn requests(&self, route: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter().filter(|request| request.url.path() == route).collect()
    }

    async fn send(&self) -> Result<Sent, Error> {
        send(&self.mosaic).await
    }

    async fn authenticate(&self) -> Result<SignedIn, Error> {
        self.mosaic.authenticate_magic_link("code-1", &Login::default()).await
    }
}

/// While it lives, a call has another answer.
struct Meanwhile(Arc<AtomicBool>);

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn client(base_url: &str, token_host: &str, clock: &Clock, total: Duration) -> Mosaic {
    client_with(connection(base_url, token_host), clock, total, &metrics())
}

fn worded(base_url: &str, token_host: &str, clock: &Clock, total: Duration, wording: Wording) -> Mosaic {
    client_with(Connection { wording, ..connection(base_url, token_host) }, clock, total, &metrics())
}

fn client_with(connection: Connection, clock: &Clock, total: Duration, metrics: &Arc<Metrics>) -> Mosaic {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let timeouts = Timeouts { total, pause: Duration::ZERO, ..Timeouts::default() };
    Mosaic::with_timeouts(connection, clock.clone(), metrics.clone(), timeouts).unwrap()
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

fn connection(base_url: &str, token_host: &str) -> Connection {
    let url = |text: String| Url::parse(&text).unwrap();
    Connection {
        base_url: url(base_url.to_owned()),
        token_url: url(format!("{token_host}/oidc/token")),
        key_set_url: url(format!("{base_url}/cis/oidc/jwks")),
        issuer: ISSUER.to_owned(),
        client_id: "client-1".to_owned(),
        client_authentication: ClientAuthentication::SecretPost(Secret::new("s&cret".to_owned())),
        certificate_authorities: Vec::new(),
        wording: Wording::default(),
    }
}

async fn send(mosaic: &Mosaic) -> Result<Sent, Error> {
    let identifier = Identifier::Email(ada());
    mosaic
        .send_magic_link(&SendMagicLink {
            identifier: &identifier,
            redirect_uri: "https://app.test/.linkgate/callback",
            state: "state-1",
            link_lifetime: Duration::from_secs(601),
            device: Device::default(),
            email_content: None,
        })
        .await
}

fn sent() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"message": "Email sent successfully"}))
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

fn json_body(request: &Request) -> Value {
    assert_eq!(header(request, "content-type"), Some("application/json"));
    serde_json::from_slice(&request.body).unwrap()
}

/// Compares by what `Debug` shows, because a transport failure has no equality.
#[track_caller]
fn same<T: std::fmt::Debug>(found: &Result<T, Error>, expected: &Error, about: &str) {
    let found = found.as_ref().expect_err(about);
    assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{about}");
}
