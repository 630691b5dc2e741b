//! Taking a token back (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::form::Form;
use super::refusal::OAuthRefusal;
use crate::issuer::tls::Peer;
use crate::issuer::{Inner, refresh};

const NOT_YOURS: OAuthRefusal = OAuthRefusal::InvalidRequest("the token belongs to another client");

/// `POST /cis/oidc/token/revocation`: 200 whether there was such a token or not.
pub(super) async fn revoke(
    State(issuer): State<Arc<Inner>>,
    peer: Option<Peer>,
    headers: HeaderMap,
    form: Form,
) -> Result<StatusCode, OAuthRefusal> {
    let caller = issuer.authenticate(&headers, &form, peer.as_ref()).await?;
    let token = form.needed("token", "token is missing")?;
    // `token_type_hint` would only save a look: both kinds are tried.
    if let Some(found) = refresh::find(&issuer, &token).await? {
        if found.client_id() != caller.client.id {
            return Err(NOT_YOURS);
        }
        found.end(&issuer).await?;
    } else if let Some(claims) = issuer.access_claims_of(&token, None).await? {
        if claims.client_id != caller.client.id {
            return Err(NOT_YOURS);
        }
        issuer.deny(&claims).await?;
    }
    Ok(StatusCode::OK)
}
