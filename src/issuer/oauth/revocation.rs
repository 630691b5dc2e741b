//! Taking a token back (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::form::{AboutToken, Form};
use super::refusal::{ClientRefusals, OAuthRefusal};
use crate::issuer::tls::Peer;
use crate::issuer::{Inner, refresh};

const NOT_YOURS: OAuthRefusal = OAuthRefusal::InvalidRequest("the token belongs to another client");

/// Takes a token back; whether there was such a token is not told.
#[utoipa::path(
    post, path = "/cis/oidc/token/revocation", tag = "oauth", operation_id = "revokeToken",
    security(("client" = []), ()),
    request_body(content = AboutToken, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token is worth nothing any more"), ClientRefusals),
)]
pub(super) async fn revoke(
    State(issuer): State<Arc<Inner>>,
    peer: Option<Peer>,
    headers: HeaderMap,
    Form(form): Form<AboutToken>,
) -> Result<StatusCode, OAuthRefusal> {
    let caller = issuer.authenticate(&headers, &form.client, peer.as_ref()).await?;
    let token = form.token()?;
    // `token_type_hint` would only save a look: both kinds are tried.
    if let Some(found) = refresh::find(&issuer, token).await? {
        if found.client_id() != caller.client.id {
            return Err(NOT_YOURS);
        }
        found.end(&issuer).await?;
    } else if let Some(claims) = issuer.access_claims_of(token, None).await? {
        if claims.client_id != caller.client.id {
            return Err(NOT_YOURS);
        }
        issuer.deny(&claims).await?;
    }
    Ok(StatusCode::OK)
}
