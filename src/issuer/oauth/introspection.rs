//! What a token is worth at this moment (RFC 7662).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::form::Form;
use super::refusal::OAuthRefusal;
use crate::issuer::client::Client;
use crate::issuer::tls::Peer;
use crate::issuer::tokens::USER_SCOPE;
use crate::issuer::{Inner, refresh};
use crate::store;

/// `POST /cis/oidc/token/introspection`: only the token's own client, or one that manages the tenant, learns more than
/// that it is not active (RFC 7662 section 4).
pub(super) async fn introspect(
    State(issuer): State<Arc<Inner>>,
    peer: Option<Peer>,
    headers: HeaderMap,
    form: Form,
) -> Result<Json<Value>, OAuthRefusal> {
    let caller = issuer.authenticate(&headers, &form, peer.as_ref()).await?;
    let token = form.needed("token", "token is missing")?;
    let active = issuer.active(&token, &caller.client).await?;
    Ok(Json(active.unwrap_or_else(|| json!({ "active": false }))))
}

impl Inner {
    async fn active(&self, token: &str, caller: &Client) -> Result<Option<Value>, store::Error> {
        let may_know = |client_id: &str| caller.is_management || client_id == caller.id;
        if let Some(found) = refresh::find(self, token).await? {
            if !may_know(found.client_id()) {
                return Ok(None);
            }
            let Some(user_id) = found.user_id(self, token).await? else { return Ok(None) };
            let client = self.clients.find(found.client_id());
            return Ok(self.may_sign_in(&user_id).await?.then(|| {
                json!({
                    "active": true,
                    "iss": self.settings.name,
                    "sub": user_id,
                    "client_id": found.client_id(),
                    "exp": found.expires_at().unix_seconds(),
                    "scope": USER_SCOPE,
                    "token_type": "refresh_token",
                    "tid": self.tenant.id,
                    "app_id": client.map(|client| &client.app_id),
                })
            }));
        }
        let Some(claims) = self.access_claims_of(token, None).await? else { return Ok(None) };
        let is_good = if claims.is_clients() {
            self.clients.find(&claims.client_id).is_some()
        } else {
            self.may_sign_in(&claims.sub).await?
        };
        Ok((is_good && may_know(&claims.client_id)).then(|| {
            let mut shown = json!(claims);
            shown["active"] = json!(true);
            shown["token_type"] = json!("Bearer");
            shown
        }))
    }

    /// Whether there is such a user, who was not shut out.
    pub(super) async fn may_sign_in(&self, user_id: &str) -> Result<bool, store::Error> {
        Ok(self.user(user_id).await?.is_some_and(|user| user.is_active()))
    }
}
