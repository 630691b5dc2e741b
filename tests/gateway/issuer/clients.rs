//! Several clients at one issuer: each with its secret, its application, its redirect URIs and its own tokens.

use linkgate::issuer::{ClientError, Error};

use super::*;

const INTRANET_SECRET: &str = "fedcba9876543210fedcba9876543210";
const INTRANET_URI: &str = "https://intranet.example.com/callback";

/// A file that is removed with the test.
pub(super) struct SecretFile(pub(super) std::path::PathBuf);

impl SecretFile {
    pub(super) fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("linkgate-clients-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // A file that stays behind harms nobody.
        drop(std::fs::remove_file(&self.0));
    }
}

/// The gateway's own client `gate`, and `intranet` as `more` describes it.
fn with_intranet(secret: &SecretFile, more: &Value) -> Config {
    let mut client = json!({ "id": "intranet", "secret_file": secret.0, "redirect_uris": [INTRANET_URI] });
    client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let client = serde_json::from_value(client).unwrap();
    Config { client: vec![client], ..config() }
}

async fn bearer(world: &World, id: &str, secret: &str) -> String {
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    world.form("/cis/oidc/token", &form).await.expect(200).text("access_token")
}

/// The world as `gate` sees it, and as `intranet` does.
async fn two(name: &str, more: &Value) -> (World, World) {
    let secret = SecretFile::new(name, &format!("{INTRANET_SECRET}\n"));
    let gate = World::with(with_intranet(&secret, more), settings()).await;
    let mut intranet = gate.again(with_intranet(&secret, more), settings()).await;
    intranet.bearer = bearer(&gate, "intranet", INTRANET_SECRET).await;
    (gate, intranet)
}

#[tokio::test]
async fn a_client_has_its_own_secret_application_and_role() {
    let (gate, intranet) = two("own", &json!({ "application": "Intranet", "management": true })).await;
    let form = format!("grant_type=client_credentials&client_id=intranet&client_secret={CLIENT_SECRET}");
    gate.form("/oidc/token", &form).await.expect(401);

    let (of_gate, of_intranet) = (claims(&gate, &gate.bearer).await, claims(&gate, &intranet.bearer).await);
    assert_eq!(of_gate["tid"], of_intranet["tid"]);
    assert_ne!(of_gate["app_id"], of_intranet["app_id"]);
    assert_eq!((&of_gate["app_name"], &of_gate["roles"]), (&json!("Acme"), &json!([])));
    assert_eq!((&of_intranet["app_name"], &of_intranet["roles"]), (&json!("Intranet"), &json!(["Admin"])));
    assert_eq!((&of_intranet["sub"], &of_intranet["client_id"]), (&json!("intranet"), &json!("intranet")));
}

#[tokio::test]
async fn an_application_keeps_its_id() {
    let secret = SecretFile::new("id", INTRANET_SECRET);
    let app_id = async |world: &World| {
        let token = bearer(world, "intranet", INTRANET_SECRET).await;
        claims(world, &token).await["app_id"].clone()
    };
    let world = World::with(with_intranet(&secret, &json!({ "application": "Intranet" })), settings()).await;
    let restarted = world.again(with_intranet(&secret, &json!({ "application": "Intranet" })), settings()).await;
    assert_eq!(app_id(&world).await, app_id(&restarted).await);
    // The default application is the same by name and without one, whatever it is called.
    let default = claims(&world, &world.bearer).await["app_id"].clone();
    for more in [json!({}), json!({ "application": "Acme" })] {
        let again = world.again(with_intranet(&secret, &more), settings()).await;
        assert_eq!(app_id(&again).await, default, "{more}");
    }
    let renamed = Settings { app_name: "Apex".to_owned(), ..settings() };
    let again = world.again(with_intranet(&secret, &json!({})), renamed).await;
    assert_eq!(app_id(&again).await, default);
}

#[tokio::test]
async fn links_codes_and_refresh_tokens_stay_with_their_client() {
    let (gate, intranet) = two("bound", &json!({})).await;
    let not_allowed = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI });
    intranet.post(SEND, &not_allowed).await.expect(400);
    gate.post(SEND, &json!({ "email": "ada@example.com", "redirect_uri": INTRANET_URI })).await.expect(400);
    intranet.post(SEND, &json!({ "email": "ada@example.com", "redirect_uri": INTRANET_URI })).await.expect(200);
    let link = intranet.latest("ada@example.com").await.text("link");
    let token = link.split_once("token=").unwrap().1;
    let code = intranet.press(token).await.expect(303).parameter("code").unwrap();

    gate.authenticate(&code).await.expect(400);
    let tokens = intranet.authenticate(&code).await.expect(200);
    let used = intranet.open(token).await.expect(410);
    assert!(used.body.contains("<h1>This link was already used</h1>"), "the gateway leads to nobody else's callback");
    assert_eq!(claims(&gate, &tokens.text("id_token")).await["aud"], "intranet");
    assert_eq!(claims(&gate, &tokens.text("access_token")).await["client_id"], "intranet");

    let refresh = json!({ "refresh_token": tokens.text("refresh_token") });
    gate.post(REFRESH, &refresh).await.expect(400);
    let tokens = intranet.post(REFRESH, &refresh).await.expect(200);
    assert_eq!(claims(&gate, &tokens.text("id_token")).await["aud"], "intranet");
}

#[tokio::test]
async fn a_session_is_shared_by_all_clients_and_each_gets_tokens_of_its_own() {
    let (gate, intranet) = two("sso", &json!({})).await;
    let session = json!({ "session_id": gate.sign_in().await.text("session_id") });
    let tokens = intranet.post(SESSION_AUTHENTICATE, &session).await.expect(200);
    assert_eq!(claims(&gate, &tokens.text("id_token")).await["aud"], "intranet");
    gate.post(REFRESH, &json!({ "refresh_token": tokens.text("refresh_token") })).await.expect(400);
}

#[tokio::test]
async fn access_tokens_are_for_the_resource_that_was_asked_for() {
    let api = "https://intranet.example.com/api";
    let (gate, intranet) = two("resource", &json!({ "resources": [api] })).await;
    let session = gate.sign_in().await.text("session_id");
    let audience = async |world: &World, resource: &str| {
        let call = json!({ "session_id": session, "resource": resource });
        let answer = world.post(SESSION_AUTHENTICATE, &call).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.json()["error_code"], "400");
            return None;
        }
        let again = world.post(REFRESH, &json!({ "refresh_token": answer.text("refresh_token") })).await.expect(200);
        let audience = claims(&gate, &answer.text("access_token")).await["aud"].clone();
        assert_eq!(claims(&gate, &again.text("access_token")).await["aud"], audience);
        Some(audience)
    };
    assert_eq!(audience(&intranet, api).await, Some(json!(api)));
    assert_eq!(audience(&intranet, "https://other.example.com").await, None);
    // A client without a list may ask for any.
    assert_eq!(audience(&gate, "https://other.example.com").await, Some(json!("https://other.example.com")));
    for wrong in ["", "other", "/api", "https://other.example.com/#part"] {
        assert_eq!(audience(&gate, wrong).await, None, "{wrong:?}");
    }
}

#[tokio::test]
async fn clients_that_are_not_in_order_are_refused() {
    let secret = SecretFile::new("order", INTRANET_SECRET);
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_777_890_030));
    let store: store::Shared = Arc::new(Memory::new(clock.clone()));
    share_key(&store).await;
    let refused = async |more: Value| {
        let pages = Pages::new(&Theme::default(), &settings().public_url, Path::new("/")).unwrap();
        let config = with_intranet(&secret, &more);
        let made = Issuer::new(config, settings(), store.clone(), clock.clone(), Arc::new(pages)).await;
        let Some(Error::Client(error)) = made.err() else { panic!("{more} is not refused") };
        error
    };
    assert!(matches!(refused(json!({ "id": "gate" })).await, ClientError::Twice(id) if id == "gate"));
    let missing = refused(json!({ "secret_file": "/nowhere/secret" })).await;
    assert!(matches!(missing, ClientError::Credential { id, .. } if id == "intranet"));
    for (more, key) in [
        (json!({ "secret_file": null }), "secret_file"),
        (json!({ "secret_env": "PATH" }), "secret_env"),
        (json!({ "secret_file": null, "secret_env": "LINKGATE_NOT_SET" }), "secret_env"),
        (json!({ "authentication": "private_key_jwt" }), "secret_file"),
        (json!({ "authentication": "private_key_jwt", "secret_file": null }), "public_key_file"),
        (json!({ "authentication": "self_signed_tls_client_auth", "secret_file": null }), "certificate_file"),
        (json!({ "authentication": "tls_client_auth", "secret_file": null }), "certificate_subject"),
    ] {
        let ClientError::Credential { source, .. } = refused(more).await else { panic!("{key} is not at fault") };
        assert_eq!(source.key, key);
    }
    assert!(matches!(refused(json!({ "redirect_uris": ["x"] })).await, ClientError::RedirectUri(_)));
}
