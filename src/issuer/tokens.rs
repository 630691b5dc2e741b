//! What the issuer says in tokens: client access tokens, user access tokens and ID tokens
//! (`iss`, `aud` and lifetimes as Mosaic has them).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::sessions::Session;
use super::tenant::fresh_id;
use super::users::User;
use super::{Inner, signing_key};
use crate::clock::Timestamp;

/// Every signed token lives one hour, in seconds.
pub(super) const LIFETIME_SECONDS: i64 = 3600;
/// `aud` of access tokens that name no resource.
const DEFAULT_AUDIENCE: &str = "userid-api";

/// The claims that a caller asked to see in the ID token: name to `null` or `{"fields": [...]}`.
pub(super) type ClaimsRequest = Map<String, Value>;

#[derive(Deserialize)]
struct ClientClaims {
    sub: String,
    client_id: String,
    exp: i64,
}

impl Inner {
    /// A token by which the client calls the API.
    pub(super) fn client_access_token(&self) -> Result<String, signing_key::Error> {
        let mut claims = self.access_claims(&self.settings.client_id, &[], "openid");
        claims.insert("ts_roles".to_owned(), json!([]));
        claims.insert("ts_permissions".to_owned(), json!([]));
        self.keys.sign(&claims)
    }

    /// Whether `token` is a client access token of the one client, now.
    pub(super) fn is_client_access_token(&self, token: &str) -> bool {
        // A user's token has the same issuer and audience; only `sub` tells them apart.
        self.keys.verify::<ClientClaims>(token, &self.issuer_name(), DEFAULT_AUDIENCE).is_some_and(|claims| {
            claims.sub == self.settings.client_id
                && claims.client_id == self.settings.client_id
                && self.clock.now() < Timestamp::from_unix_seconds(claims.exp)
        })
    }

    pub(super) fn user_access_token(&self, user: &User) -> Result<String, signing_key::Error> {
        self.keys.sign(&self.access_claims(&user.user_id, &user.roles, "openid offline_access"))
    }

    pub(super) fn id_token(
        &self,
        user: &User,
        session: &Session,
        asked: &ClaimsRequest,
    ) -> Result<String, signing_key::Error> {
        let mut claims = Map::new();
        for (name, detail) in asked {
            if let Some(value) = self.optional_claim(name, detail, user) {
                claims.insert(name.clone(), value);
            }
        }
        // The fixed claims come last, so no optional one can take their place.
        claims.extend(self.times());
        claims.insert("sub".to_owned(), json!(user.user_id));
        claims.insert("aud".to_owned(), json!(self.settings.client_id));
        claims.insert("auth_time".to_owned(), json!(session.auth_time.unix_seconds()));
        claims.insert("amr".to_owned(), json!(session.amr));
        self.keys.sign(&claims)
    }

    fn access_claims(&self, subject: &str, roles: &[String], scope: &str) -> Map<String, Value> {
        let mut claims = self.times();
        claims.insert("sub".to_owned(), json!(subject));
        claims.insert("aud".to_owned(), json!(DEFAULT_AUDIENCE));
        claims.insert("client_id".to_owned(), json!(self.settings.client_id));
        claims.insert("app_id".to_owned(), json!(self.tenant.app_id));
        claims.insert("app_name".to_owned(), json!(self.settings.app_name));
        claims.insert("jti".to_owned(), json!(fresh_id()));
        claims.insert("roles".to_owned(), json!(roles));
        claims.insert("scope".to_owned(), json!(scope));
        claims
    }

    fn times(&self) -> Map<String, Value> {
        let now = self.clock.now().unix_seconds();
        Map::from_iter([
            ("iss".to_owned(), json!(self.issuer_name())),
            ("tid".to_owned(), json!(self.tenant.id)),
            ("iat".to_owned(), json!(now)),
            ("exp".to_owned(), json!(now + LIFETIME_SECONDS)),
        ])
    }

    /// A claim that appears on request only; `None` when it is unknown or the user has no such thing.
    fn optional_claim(&self, name: &str, detail: &Value, user: &User) -> Option<Value> {
        let text = |value: &Option<String>| value.as_ref().map(|value| json!(value));
        let profile = &user.profile;
        match name {
            "email" => Some(json!(user.email.value)),
            "email_verified" => Some(json!(user.email.email_verified)),
            "groups" => Some(json!(user.groups)),
            "roles" | "role_values" => Some(json!(user.roles)),
            "permissions" => Some(json!([])),
            "fname" => text(&profile.name.first_name),
            "mname" => text(&profile.name.middle_name),
            "lname" => text(&profile.name.last_name),
            "username" => text(&profile.username),
            "phone_number" => text(&profile.phone_number),
            "phone_number_verified" => profile.phone_number.as_ref().map(|_| json!(false)),
            "picture" => text(&profile.picture),
            "language" => text(&profile.language),
            "external_user_id" => text(&profile.external_user_id),
            "external_account_id" => text(&profile.external_account_id),
            "app_name" => Some(json!(self.settings.app_name)),
            "created_at" => Some(json!(user.created_at.unix_millis())),
            "last_auth" => user.last_auth.map(|moment| json!(moment.unix_millis())),
            "custom_data" => selected(&profile.custom_data, detail),
            "custom_app_data" => selected(&profile.custom_app_data, detail),
            _ => None,
        }
    }
}

/// Custom data whole, or only the members that `{"fields": [...]}` names.
fn selected(data: &Option<Map<String, Value>>, detail: &Value) -> Option<Value> {
    let data = data.as_ref()?;
    let Some(fields) = detail.get("fields").and_then(Value::as_array) else { return Some(json!(data)) };
    let wanted = |name: &String| fields.iter().any(|field| field.as_str() == Some(name));
    Some(data.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The answer to every sign-in and renewal.
#[derive(Serialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    pub(super) id_token: String,
    pub(super) refresh_token: String,
    pub(super) token_type: &'static str,
    pub(super) expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<String>,
}
