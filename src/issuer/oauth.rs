//! The OAuth side: tokens for clients and for refresh tokens (RFC 6749), taking them back, asking about them, and what
//! everybody may know of the issuer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::tls::Peer;
use super::tokens::{CLIENT_SCOPE, LIFETIME_SECONDS, TokenAnswer, USER_SCOPE};
use super::{Inner, refresh};

mod authentication;
mod discovery;
mod form;
mod introspection;
mod refusal;
mod revocation;
mod user_info;

pub(super) use authentication::Authenticated;
use form::Form;
use refusal::OAuthRefusal;

/// The calls that need no client access token: they give one, take another credential, or say what everybody may know.
pub(super) fn router() -> Router<Arc<Inner>> {
    Router::new()
        .route("/oidc/token", post(token))
        .route("/cis/oidc/token", post(token))
        .route("/oidc/token/revocation", post(revocation::revoke))
        .route("/cis/oidc/token/revocation", post(revocation::revoke))
        .route("/oidc/token/introspection", post(introspection::introspect))
        .route("/cis/oidc/token/introspection", post(introspection::introspect))
        .route("/cis/oidc/me", get(user_info::me).post(user_info::me))
        .route("/cis/v1/auth/logout", post(user_info::logout))
        .route("/cis/oidc/jwks", get(discovery::key_set))
        .route("/cis/oidc/.well-known/openid-configuration", get(discovery::discovery))
        .route("/cis/oidc/auth", any(discovery::no_browser_flow))
        .route("/cis/oidc/request", any(discovery::no_such_flow))
        .route("/cis/oidc/device/auth", any(discovery::no_such_flow))
        .route("/cis/oidc/backchannel", any(discovery::no_such_flow))
        .route("/cis/oidc/session/end", any(discovery::no_such_flow))
}

/// `POST /oidc/token` and `POST /cis/oidc/token`
async fn token(
    State(issuer): State<Arc<Inner>>,
    peer: Option<Peer>,
    headers: HeaderMap,
    form: Form,
) -> Result<Json<Value>, OAuthRefusal> {
    let grant_type = form.needed("grant_type", "grant_type is missing")?;
    let caller = issuer.authenticate(&headers, &form, peer.as_ref()).await?;
    match grant_type.as_ref() {
        "client_credentials" => client_credentials(&issuer, &caller, &form).await,
        "refresh_token" => refresh_token(&issuer, &caller, &form).await,
        _ => Err(OAuthRefusal::UnsupportedGrantType),
    }
}

async fn client_credentials(issuer: &Inner, caller: &Authenticated, form: &Form) -> Result<Json<Value>, OAuthRefusal> {
    let audience = caller.client.audience(form.field("resource")?.as_deref())?;
    Ok(Json(json!({
        "access_token": issuer.client_access_token(caller, &audience).await?,
        "token_type": "Bearer",
        "expires_in": LIFETIME_SECONDS,
        "scope": CLIENT_SCOPE,
    })))
}

async fn refresh_token(issuer: &Inner, caller: &Authenticated, form: &Form) -> Result<Json<Value>, OAuthRefusal> {
    let token = form.needed("refresh_token", "refresh_token is missing")?;
    let rotated = refresh::rotate(issuer, &caller.client, &token).await;
    let TokenAnswer { access_token, id_token, refresh_token, token_type, expires_in, .. } =
        rotated.map_err(|refusal| match refusal {
            refresh::Unrefreshed::Invalid | refresh::Unrefreshed::Disabled => OAuthRefusal::InvalidGrant,
            refresh::Unrefreshed::Other(other) => OAuthRefusal::Other(other),
        })?;
    Ok(Json(json!({
        "access_token": access_token,
        "id_token": id_token,
        "refresh_token": refresh_token,
        "token_type": token_type,
        "expires_in": expires_in,
        "scope": USER_SCOPE,
    })))
}
