//! What a token is worth at this moment (RFC 7662).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::form::{AboutToken, Form};
use super::refusal::{ClientRefusals, OAuthRefusal};
use crate::issuer::client::{Audience, Client};
use crate::issuer::tls::Peer;
use crate::issuer::tokens::{AccessClaims, Confirmation, USER_SCOPE};
use crate::issuer::{Inner, refresh};
use crate::store;

/// What a token is worth (RFC 7662 section 2.2).
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Introspected {
    /// Everything else is there only with an active token.
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// `Bearer` for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(Bearer|refresh_token)$")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

impl From<AccessClaims> for Introspected {
    fn from(claims: AccessClaims) -> Self {
        let AccessClaims { iss, sub, aud, client_id, exp, iat, jti, scope, tid, app_id, cnf } = claims;
        Self {
            active: true,
            iss: Some(iss),
            sub: Some(sub),
            aud: Some(aud),
            client_id: Some(client_id),
            exp: Some(exp),
            iat: Some(iat),
            jti: Some(jti),
            scope: Some(scope),
            token_type: Some("Bearer"),
            tid: Some(tid),
            app_id: Some(app_id),
            cnf,
        }
    }
}

/// Says what a token is worth to its own client, and to one that manages the tenant; to others, none is active.
#[utoipa::path(
    post, path = "/cis/oidc/token/introspection", tag = "oauth", operation_id = "introspectToken",
    security(("client" = []), ()),
    request_body(content = AboutToken, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "What it is worth", body = Introspected), ClientRefusals),
)]
pub(super) async fn introspect(
    State(issuer): State<Arc<Inner>>,
    peer: Option<Peer>,
    headers: HeaderMap,
    Form(form): Form<AboutToken>,
) -> Result<Json<Introspected>, OAuthRefusal> {
    let caller = issuer.authenticate(&headers, &form.client, peer.as_ref()).await?;
    Ok(Json(issuer.active(form.token()?, &caller.client).await?.unwrap_or_default()))
}

impl Inner {
    async fn active(&self, token: &str, caller: &Client) -> Result<Option<Introspected>, store::Error> {
        let may_know = |client_id: &str| caller.is_management || client_id == caller.id;
        if let Some(found) = refresh::find(self, token).await? {
            if !may_know(found.client_id()) {
                return Ok(None);
            }
            let Some(user_id) = found.user_id(self, token).await? else { return Ok(None) };
            let client = self.clients.find(found.client_id());
            return Ok(self.may_sign_in(&user_id).await?.then(|| Introspected {
                active: true,
                iss: Some(self.settings.name.clone()),
                sub: Some(user_id),
                client_id: Some(found.client_id().to_owned()),
                exp: Some(found.expires_at().unix_seconds()),
                scope: Some(USER_SCOPE.to_owned()),
                token_type: Some("refresh_token"),
                tid: Some(self.tenant.id.clone()),
                app_id: client.map(|client| client.app_id.clone()),
                ..Introspected::default()
            }));
        }
        let Some(claims) = self.access_claims_of(token, None).await? else { return Ok(None) };
        let is_good = if claims.is_clients() {
            self.clients.find(&claims.client_id).is_some()
        } else {
            self.may_sign_in(&claims.sub).await?
        };
        Ok((is_good && may_know(&claims.client_id)).then(|| claims.into()))
    }

    /// Whether there is such a user, who was not shut out.
    pub(super) async fn may_sign_in(&self, user_id: &str) -> Result<bool, store::Error> {
        Ok(self.user(user_id).await?.is_some_and(|user| user.is_active()))
    }
}
