//! What there is and where (OpenID Connect Discovery 1.0, RFC 8414), and the key set (RFC 7517).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::OAuthRefused;
use crate::issuer::Inner;
use crate::issuer::signing_key::KeySet;

/// The keys that sign, signed or will sign tokens.
#[utoipa::path(
    get, path = "/cis/oidc/jwks", tag = "oauth", operation_id = "getKeySet", security(()),
    responses((status = 200, description = "The key set", body = KeySet)),
)]
pub(super) async fn key_set(State(issuer): State<Arc<Inner>>) -> Json<KeySet> {
    Json(issuer.keys.key_set().await)
}

/// What there is, and where.
#[derive(Serialize, ToSchema)]
pub(super) struct Discovered {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    grant_types_supported: [&'static str; 2],
    /// None: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    scopes_supported: [&'static str; 2],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    claims_supported: [&'static str; 11],
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    tls_client_certificate_bound_access_tokens: bool,
}

/// What this issuer can do.
#[utoipa::path(
    get, path = "/cis/oidc/.well-known/openid-configuration", tag = "oauth", operation_id = "discover", security(()),
    responses((status = 200, description = "What there is, and where", body = Discovered)),
)]
pub(super) async fn discovery(State(issuer): State<Arc<Inner>>) -> Json<Discovered> {
    const ASSERTION_ALGORITHMS: [&str; 3] = ["RS256", "PS256", "ES256"];
    let oidc = format!("{}/cis/oidc", issuer.settings.api_url);
    let mut methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let takes_certificates = issuer.config.takes_certificates();
    if takes_certificates {
        methods.extend(["tls_client_auth", "self_signed_tls_client_auth"]);
    }
    Json(Discovered {
        issuer: issuer.settings.name.clone(),
        token_endpoint: format!("{oidc}/token"),
        jwks_uri: format!("{oidc}/jwks"),
        userinfo_endpoint: format!("{oidc}/me"),
        revocation_endpoint: format!("{oidc}/token/revocation"),
        introspection_endpoint: format!("{oidc}/token/introspection"),
        grant_types_supported: ["client_credentials", "refresh_token"],
        response_types_supported: [],
        scopes_supported: ["openid", "offline_access"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256"],
        claims_supported: [
            "sub",
            "iss",
            "aud",
            "iat",
            "exp",
            "auth_time",
            "amr",
            "email",
            "email_verified",
            "groups",
            "roles",
        ],
        token_endpoint_auth_methods_supported: methods.clone(),
        token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
        revocation_endpoint_auth_methods_supported: methods.clone(),
        revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
        introspection_endpoint_auth_methods_supported: methods,
        introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
        tls_client_certificate_bound_access_tokens: takes_certificates,
    })
}

/// `/cis/oidc/auth`: the browser flow that this issuer does not have.
pub(super) async fn no_browser_flow() -> Response {
    absent("unsupported_response_type")
}

/// `/cis/oidc/request` and the other entrances to flows that this issuer does not have.
pub(super) async fn no_such_flow() -> Response {
    absent("invalid_request")
}

fn absent(error: &'static str) -> Response {
    const WHY: &str = "this issuer signs in by the backend API only: /cis/v1/auth/link/email and /cis/v1/auth/otp";
    (StatusCode::NOT_IMPLEMENTED, Json(OAuthRefused::new(error, WHY))).into_response()
}
