//! The built-in issuer through its routers: no sockets, a clock that is set, a store in memory.

mod authentication;
mod clients;
mod codes;
mod credentials;
mod failing_store;
mod groups;
mod keys;
mod links;
mod mail;
mod mailbox;
mod oauth;
mod openapi;
mod reference;
mod sessions;
mod tokens;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use linkgate::clock::{Clock, Timestamp};
use linkgate::issuer::{Config, Issuer, OwnClient, Settings};
use linkgate::origin::Origin;
use linkgate::pages::{Pages, Theme};
use linkgate::secret::Secret;
use linkgate::store;
use linkgate::store::memory::Memory;
use serde_json::{Value, json};
use tower::ServiceExt;

const REDIRECT_URI: &str = "https://app.example.com/.linkgate/callback";
const START: Timestamp = Timestamp::from_unix_seconds(1_777_890_030);
const CLIENT_ID: &str = "gate";
const CLIENT_SECRET: &str = "0123456789abcdef0123456789abcdef";
const SEND: &str = "/cis/v1/auth/link/email/send";
const AUTHENTICATE: &str = "/cis/v1/auth/link/email/authenticate";
const SESSION_AUTHENTICATE: &str = "/cis/v1/auth/session/authenticate";
const LOGOUT: &str = "/cis/v1/auth/session/logout";
const REFRESH: &str = "/cis/v1/auth/token/refresh";

/// An issuer that knows `ada@example.com`, and everything around it.
struct World {
    issuer: Issuer,
    store: store::Shared,
    clock: Clock,
    bearer: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    fn text(&self, member: &str) -> String {
        self.json()[member].as_str().expect(&self.body).to_owned()
    }

    /// A parameter of the URL in `Location`.
    fn parameter(&self, name: &str) -> Option<String> {
        let location = self.headers["location"].to_str().unwrap();
        let url = url::Url::parse(location).unwrap();
        url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    fn refuses(self, status: u16, body: &Value) {
        assert_eq!((self.status.as_u16(), &self.json()), (status, body));
    }
}

fn own_client(id: &str) -> OwnClient {
    OwnClient {
        id: id.to_owned(),
        secret: Secret::new(CLIENT_SECRET.to_owned()),
        redirect_uris: vec![REDIRECT_URI.to_owned(), "https://app.example.com/other?x=1".to_owned()],
    }
}

fn settings() -> Settings {
    let public_url = Origin::try_from("https://app.example.com".to_owned()).unwrap();
    Settings {
        name: Issuer::name(&public_url),
        api_url: "https://issuer.example.com".to_owned(),
        public_url,
        app_name: "Acme".to_owned(),
        own_client: Some(own_client(CLIENT_ID)),
        link_lifetime: Duration::from_secs(600),
    }
}

fn config() -> Config {
    serde_json::from_value(json!({
        "mailbox": true,
        "user": [{ "email": "ada@example.com", "name": "Ada King Lovelace", "groups": ["staff"], "roles": ["admin"] }],
    }))
    .unwrap()
}

async fn issuer(config: Config, settings: Settings, store: &store::Shared, clock: &Clock) -> Issuer {
    let pages = Pages::new(&Theme::default(), &settings.public_url, Path::new("/")).unwrap();
    Issuer::new(config, settings, store.clone(), clock.clone(), Arc::new(pages)).await.unwrap()
}

/// Making an RSA key takes long; the first world makes one for all that do not ask for their own.
async fn share_key(store: &store::Shared) {
    static KEYS: tokio::sync::Mutex<Option<Vec<u8>>> = tokio::sync::Mutex::const_new(None);
    const NAME: &str = "issuer/signing_keys";
    let mut keys = KEYS.lock().await;
    if keys.is_none() {
        let clock = Clock::manual(START);
        let first: store::Shared = Arc::new(Memory::new(clock.clone()));
        issuer(config(), settings(), &first, &clock).await;
        *keys = first.get(NAME).await.unwrap();
    }
    store.put(NAME, keys.as_ref().unwrap(), Timestamp::NEVER).await.unwrap();
}

impl World {
    /// The `iss` of its tokens.
    fn issuer_name(&self) -> String {
        Issuer::name(&settings().public_url)
    }

    async fn new() -> Self {
        Self::with(config(), settings()).await
    }

    async fn with(config: Config, settings: Settings) -> Self {
        let clock = Clock::manual(START);
        let store: store::Shared = Arc::new(Memory::new(clock.clone()));
        share_key(&store).await;
        Self::over(config, settings, store, clock).await
    }

    async fn over(config: Config, settings: Settings, store: store::Shared, clock: Clock) -> Self {
        let issuer = issuer(config, settings, &store, &clock).await;
        let mut world = Self { issuer, store, clock, bearer: String::new() };
        world.log_in_client().await;
        world
    }

    /// Another instance over the same store.
    async fn again(&self, config: Config, settings: Settings) -> Self {
        Self::over(config, settings, self.store.clone(), self.clock.clone()).await
    }

    async fn log_in_client(&mut self) {
        let id = self.issuer_client().await;
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={CLIENT_SECRET}");
        self.bearer = self.form("/oidc/token", &form).await.expect(200).text("access_token");
    }

    /// The worlds of these tests have one of two clients.
    async fn issuer_client(&self) -> &'static str {
        let form = format!("grant_type=client_credentials&client_id=other&client_secret={CLIENT_SECRET}");
        if self.form("/oidc/token", &form).await.status == StatusCode::OK { "other" } else { CLIENT_ID }
    }

    async fn form(&self, path: &str, form: &str) -> Answer {
        run(self.issuer.api(), Method::POST, path, &[], form).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.bearer);
        run(self.issuer.api(), method, path, &[("authorization", &bearer)], body).await
    }

    async fn page(&self, method: Method, path: &str, body: &str) -> Answer {
        run(self.issuer.pages(), method, path, &[], body).await
    }

    /// Sends a link to `ada@example.com` and gives the token in it.
    async fn send_link(&self) -> String {
        let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI, "state": "s" });
        self.post(SEND, &call).await.expect(200);
        let link = self.latest("ada@example.com").await.expect(200).text("link");
        link.strip_prefix("https://app.example.com/.linkgate/link?token=").unwrap().to_owned()
    }

    async fn latest(&self, to: &str) -> Answer {
        self.page(Method::GET, &format!("/.linkgate/mailbox/latest?to={to}"), "").await
    }

    async fn open(&self, token: &str) -> Answer {
        self.page(Method::GET, &format!("/.linkgate/link?token={token}"), "").await
    }

    async fn press(&self, token: &str) -> Answer {
        self.page(Method::POST, "/.linkgate/link", &format!("token={token}")).await
    }

    async fn code(&self) -> String {
        let token = self.send_link().await;
        self.press(&token).await.expect(303).parameter("code").unwrap()
    }

    async fn authenticate(&self, code: &str) -> Answer {
        self.post(AUTHENTICATE, &json!({ "code": code })).await
    }

    /// The tokens of a whole sign-in.
    async fn sign_in(&self) -> Answer {
        let code = self.code().await;
        self.authenticate(&code).await.expect(200)
    }

    async fn user_id(&self, email: &str) -> String {
        let found = self.get(&format!("/cis/v1/users/email/{email}")).await.expect(200);
        found.json()["result"]["user_id"].as_str().unwrap().to_owned()
    }

    /// The same issuer as another client sees it, whose redirect URI and secret are those of the first.
    async fn another_client(&self, more: Value) -> Self {
        let name = format!("linkgate-users-{}-{}", std::process::id(), linkgate::secret::random_token().expose());
        let secret = std::env::temp_dir().join(name);
        std::fs::write(&secret, CLIENT_SECRET).unwrap();
        let mut client = json!({ "id": "second", "secret_file": secret, "redirect_uris": [REDIRECT_URI] });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = Config { client: vec![serde_json::from_value(client).unwrap()], ..config() };
        let mut world = self.again(config, settings()).await;
        std::fs::remove_file(&secret).unwrap();
        let form = format!("grant_type=client_credentials&client_id=second&client_secret={CLIENT_SECRET}");
        world.bearer = world.form("/oidc/token", &form).await.expect(200).text("access_token");
        world
    }

    /// What an administrator does elsewhere.
    async fn disable(&self, email: &str) {
        let key = format!("issuer/user/{}", self.user_id(email).await);
        let mut user: Value = serde_json::from_slice(&self.store.get(&key).await.unwrap().unwrap()).unwrap();
        user["status"] = json!("Disabled");
        self.store.put(&key, user.to_string().as_bytes(), Timestamp::NEVER).await.unwrap();
    }
}

async fn run(router: Router, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(parts.headers.get("cache-control").map(http::HeaderValue::as_bytes), Some(&b"no-store"[..]), "{path}");
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// Signature and header checked against the published keys; the claims, whatever their times.
async fn claims(world: &World, token: &str) -> Value {
    let keys: jsonwebtoken::jwk::JwkSet =
        serde_json::from_str(&world.get("/cis/oidc/jwks").await.expect(200).body).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(header.kid.as_ref().unwrap()).expect("the key is published");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
}
