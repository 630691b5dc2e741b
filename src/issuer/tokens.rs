//! What the issuer says in tokens: client access tokens, user access tokens and ID tokens
//! (`iss`, `aud` and lifetimes as Mosaic has them).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::client::certificate::thumbprint;
use super::client::{Audience, Caller, Client};
use super::oauth::Authenticated;
use super::sessions::Session;
use super::tenant::fresh_id;
use super::tls::Peer;
use super::users::User;
use super::{Inner, signing_key};
use crate::clock::Timestamp;
use crate::store;

/// Every signed token lives one hour, in seconds.
pub(super) const LIFETIME_SECONDS: i64 = 3600;

/// The claims that a caller asked to see in the ID token: name to `null` or `{"fields": [...]}`.
pub(super) type ClaimsRequest = Map<String, Value>;

/// `scope` of client access tokens, and of what a sign-in gives.
pub(super) const CLIENT_SCOPE: &str = "openid";
pub(super) const USER_SCOPE: &str = "openid offline_access";

/// What an access token says, of a client or of a user.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: Audience,
    pub(super) client_id: String,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) jti: String,
    pub(super) scope: String,
    pub(super) tid: String,
    pub(super) app_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
}

/// What the holder of a token must show beside it (RFC 8705 section 3.1).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Confirmation {
    #[serde(rename = "x5t#S256")]
    pub(super) thumbprint: String,
}

impl AccessClaims {
    /// Whether the token is a client's own: a user's has the same issuer and audience, only `sub` tells them apart.
    pub(super) fn is_clients(&self) -> bool {
        self.sub == self.client_id
    }
}

fn denied_key(jti: &str) -> String {
    format!("issuer/denied/{jti}")
}

impl Inner {
    /// A token by which the client calls the API.
    pub(super) async fn client_access_token(
        &self,
        caller: &Authenticated,
        audience: &Audience,
    ) -> Result<String, signing_key::Error> {
        let client = &caller.client;
        let roles = if client.is_management { &["Admin".to_owned()][..] } else { &[] };
        let mut claims = self.access_claims(client, audience, &client.id, roles, CLIENT_SCOPE);
        if let Some(thumbprint) = &caller.thumbprint {
            claims.insert("cnf".to_owned(), json!({ "x5t#S256": thumbprint }));
        }
        claims.insert("ts_roles".to_owned(), json!([]));
        claims.insert("ts_permissions".to_owned(), json!([]));
        self.keys.sign(&claims).await
    }

    /// Whose client access token for this API `token` is, now; one that is bound to a certificate is good only with it.
    pub(super) async fn caller(&self, token: &str, peer: Option<&Peer>) -> Result<Option<Caller>, store::Error> {
        let Some(claims) = self.access_claims_of(token, Some(&Audience::default())).await? else { return Ok(None) };
        let shown = peer.and_then(Peer::certificate).map(thumbprint);
        let is_held = claims.cnf.as_ref().is_none_or(|bound| Some(&bound.thumbprint) == shown.as_ref());
        let client = self.clients.find(&claims.client_id).filter(|_| claims.is_clients() && is_held);
        Ok(client.map(|client| Caller { client: Arc::clone(client) }))
    }

    /// The claims of an access token that counts now, for `audience` if it matters.
    pub(super) async fn access_claims_of(
        &self,
        token: &str,
        audience: Option<&Audience>,
    ) -> Result<Option<AccessClaims>, store::Error> {
        let audience = audience.map(Audience::as_str);
        // An ID token has neither `client_id` nor `jti`, so it never passes for an access token.
        let claims = self.keys.verify::<AccessClaims>(token, &self.settings.name, audience).await;
        let Some(claims) = claims.filter(|claims| self.clock.now() < Timestamp::from_unix_seconds(claims.exp)) else {
            return Ok(None);
        };
        let is_denied = self.store.get(&denied_key(&claims.jti)).await?.is_some();
        Ok((!is_denied).then_some(claims))
    }

    /// Takes an access token back for the rest of its time.
    pub(super) async fn deny(&self, claims: &AccessClaims) -> Result<(), store::Error> {
        self.store.put(&denied_key(&claims.jti), b"", Timestamp::from_unix_seconds(claims.exp)).await
    }

    pub(super) async fn user_access_token(
        &self,
        client: &Client,
        audience: &Audience,
        user: &User,
    ) -> Result<String, signing_key::Error> {
        self.keys.sign(&self.access_claims(client, audience, &user.user_id, &user.roles, USER_SCOPE)).await
    }

    pub(super) async fn id_token(
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
        self.keys.sign(&claims).await
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
            ("iss".to_owned(), json!(self.settings.name)),
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
