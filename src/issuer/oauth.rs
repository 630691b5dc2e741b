//! The OAuth side: tokens for clients and for refresh tokens (RFC 6749), taking them back, asking about them, and what
//! everybody may know of the issuer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{any, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Refused;
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
use form::{ClientFields, Form, needed};
use refusal::{ClientRefusals, OAuthRefusal};

/// The calls that need no client access token: they give one, take another credential, or say what everybody may know.
pub(super) fn router() -> OpenApiRouter<Arc<Inner>> {
    let unseen = Router::new()
        .route("/oidc/token", post(token))
        .route("/oidc/token/revocation", post(revocation::revoke))
        .route("/oidc/token/introspection", post(introspection::introspect))
        .route("/cis/oidc/auth", any(discovery::no_browser_flow))
        .route("/cis/oidc/request", any(discovery::no_such_flow))
        .route("/cis/oidc/device/auth", any(discovery::no_such_flow))
        .route("/cis/oidc/backchannel", any(discovery::no_such_flow))
        .route("/cis/oidc/session/end", any(discovery::no_such_flow));
    OpenApiRouter::from(unseen)
        .routes(routes!(token))
        .routes(routes!(revocation::revoke))
        .routes(routes!(introspection::introspect))
        .routes(routes!(user_info::me, user_info::me_by_form))
        .routes(routes!(user_info::logout))
        .routes(routes!(discovery::key_set))
        .routes(routes!(discovery::discovery))
}

/// Puts the second spelling of the paths that have one, `/oidc/token` and those below it, into the document.
pub(super) fn name_short_paths(document: &mut OpenApi) {
    let paths = &mut document.paths.paths;
    for long in ["/cis/oidc/token", "/cis/oidc/token/revocation", "/cis/oidc/token/introspection"] {
        let Some(mut item) = paths.get(long).cloned() else { continue };
        if let Some(operation) = &mut item.post {
            operation.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}ByShortPath"));
        }
        paths.insert(long.trim_start_matches("/cis").to_owned(), item);
    }
}

/// What a client asks for, and by what.
#[derive(Deserialize, ToSchema)]
struct TokenRequest {
    #[serde(flatten)]
    client: ClientFields,
    #[schema(required, pattern = "^(client_credentials|refresh_token)$")]
    grant_type: Option<String>,
    /// With `client_credentials`: what the token is for, one of the client's resources.
    #[schema(example = "https://api.example.com")]
    resource: Option<String>,
    /// With `refresh_token`.
    refresh_token: Option<String>,
}

/// The answer to either grant.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Granted {
    ToClient(ClientGrant),
    ToUser(RefreshGrant),
}

/// A client access token.
#[derive(Serialize, ToSchema)]
struct ClientGrant {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    scope: &'static str,
}

/// The next tokens of a sign-in.
#[derive(Serialize, ToSchema)]
struct RefreshGrant {
    #[serde(flatten)]
    tokens: TokenAnswer,
    scope: &'static str,
}

/// Gives a client an access token of its own, or the next tokens of a sign-in.
#[utoipa::path(
    post, path = "/cis/oidc/token", tag = "oauth", operation_id = "getToken",
    security(("client" = []), ()),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The tokens", body = Granted),
        (status = 500, description = "A fault of the issuer", body = Refused),
        ClientRefusals,
    ),
)]
async fn token(
    State(issuer): State<Arc<Inner>>,
    peer: Option<Peer>,
    headers: HeaderMap,
    Form(request): Form<TokenRequest>,
) -> Result<Json<Granted>, OAuthRefusal> {
    let grant_type = needed(request.grant_type.as_ref(), "grant_type is missing")?;
    let caller = issuer.authenticate(&headers, &request.client, peer.as_ref()).await?;
    let granted = match grant_type {
        "client_credentials" => Granted::ToClient(client_credentials(&issuer, &caller, &request).await?),
        "refresh_token" => Granted::ToUser(refresh_token(&issuer, &caller, &request).await?),
        _ => return Err(OAuthRefusal::UnsupportedGrantType),
    };
    Ok(Json(granted))
}

async fn client_credentials(
    issuer: &Inner,
    caller: &Authenticated,
    request: &TokenRequest,
) -> Result<ClientGrant, OAuthRefusal> {
    let audience = caller.client.audience(request.resource.as_deref())?;
    Ok(ClientGrant {
        access_token: issuer.client_access_token(caller, &audience).await?,
        token_type: "Bearer",
        expires_in: LIFETIME_SECONDS,
        scope: CLIENT_SCOPE,
    })
}

async fn refresh_token(
    issuer: &Inner,
    caller: &Authenticated,
    request: &TokenRequest,
) -> Result<RefreshGrant, OAuthRefusal> {
    let token = needed(request.refresh_token.as_ref(), "refresh_token is missing")?;
    match refresh::rotate(issuer, &caller.client, token).await {
        Ok(tokens) => Ok(RefreshGrant { tokens, scope: USER_SCOPE }),
        Err(refresh::Unrefreshed::Invalid | refresh::Unrefreshed::Disabled) => Err(OAuthRefusal::InvalidGrant),
        Err(refresh::Unrefreshed::Other(other)) => Err(OAuthRefusal::Other(other)),
    }
}
