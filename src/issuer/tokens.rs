//! What the issuer says in tokens: client access tokens, user access tokens and ID tokens
//! (`iss`, `aud` and lifetimes as Mosaic has them).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::client::{Audience, Caller, Client};
use super::sessions::Session;
use super::tenant::fresh_id;
use super::users::User;
use super::{Inner, signing_key};
use crate::clock::Timestamp;

/// Every signed token lives one hour, in seconds.
pub(super) const LIFETIME_SECONDS: i64 = 3600;

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
    pub(super) fn client_access_token(&self, client: &Client) -> Result<String, signing_key::Error> {
        let roles = if client.is_management { &["Admin".to_owned()][..] } else { &[] };
        let mut claims = self.access_claims(client, &Audience::default(), &client.id, roles, "openid");
        claims.insert("ts_roles".to_owned(), json!([]));
        claims.insert("ts_permissions".to_owned(), json!([]));
        self.keys.sign(&claims)
    }

    /// Whose client access token `token` is, now.
    pub(super) fn caller(&self, token: &str) -> Option<Caller> {
        let audience = Audience::default();
        let claims: ClientClaims = self.keys.verify(token, &self.issuer_name(), audience.as_str())?;
        // A user's token has the same issuer and audience; only `sub` tells them apart.
        let is_clients = claims.sub == claims.client_id && self.clock.now() < Timestamp::from_unix_seconds(claims.exp);
        let client = self.clients.find(&claims.client_id).filter(|_| is_clients)?;
        Some(Caller { client: Arc::clone(client) })
    }

    pub(super) fn user_access_token(
        &self,
        client: &Client,
        audience: &Audience,
        user: &User,
    ) -> Result<String, signing_key::Error> {
        self.keys.sign(&self.access_claims(client, audience, &user.user_id, &user.roles, "openid offline_access"))
    }

    pub(super) fn id_token(
        &self,
        client: &Client,
        user: &User,
        session: &Session,
        asked: &ClaimsRequest,
    ) -> Result<String, signing_key::Error> {
        let mut claims = Map::new();
        for (name, detail) in asked {
            if let Some(value) = user.claim(name, detail, client) {
                claims.insert(name.clone(), value);
            }
        }
        if let Some(approved) = &session.approval_data {
            claims.insert("approval_data".to_owned(), json!(approved));
        }
        // The fixed claims come last, so no optional one can take their place.
        claims.extend(self.times());
        claims.insert("sub".to_owned(), json!(user.user_id));
        claims.insert("aud".to_owned(), json!(client.id));
        claims.insert("auth_time".to_owned(), json!(session.auth_time.unix_seconds()));
        claims.insert("amr".to_owned(), json!(session.methods()));
        self.keys.sign(&claims)
    }

    fn access_claims(
        &self,
        client: &Client,
        audience: &Audience,
        subject: &str,
        roles: &[String],
        scope: &str,
    ) -> Map<String, Value> {
        let mut claims = self.times();
        claims.insert("sub".to_owned(), json!(subject));
        claims.insert("aud".to_owned(), json!(audience));
        claims.insert("client_id".to_owned(), json!(client.id));
        claims.insert("app_id".to_owned(), json!(client.app_id));
        claims.insert("app_name".to_owned(), json!(client.app_name));
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
}

/// The answer to every sign-in and renewal.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    pub(super) id_token: String,
    pub(super) refresh_token: String,
    pub(super) token_type: &'static str,
    pub(super) expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<String>,
}
