//! What there is and where (OpenID Connect Discovery 1.0, RFC 8414), and the key set (RFC 7517).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::issuer::Inner;

/// `GET /cis/oidc/jwks`
pub(super) async fn key_set(State(issuer): State<Arc<Inner>>) -> Json<Value> {
    Json(issuer.keys.key_set().await)
}

/// `GET /cis/oidc/.well-known/openid-configuration`
pub(super) async fn discovery(State(issuer): State<Arc<Inner>>) -> Json<Value> {
    let oidc = format!("{}/cis/oidc", issuer.settings.api_url);
    let mut methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let takes_certificates = issuer.config.tls.is_some();
    if takes_certificates {
        methods.extend(["tls_client_auth", "self_signed_tls_client_auth"]);
    }
    let algorithms = json!(["RS256", "PS256", "ES256"]);
    Json(json!({
        "issuer": issuer.settings.name,
        "token_endpoint": format!("{oidc}/token"),
        "jwks_uri": format!("{oidc}/jwks"),
        "userinfo_endpoint": format!("{oidc}/me"),
        "revocation_endpoint": format!("{oidc}/token/revocation"),
        "introspection_endpoint": format!("{oidc}/token/introspection"),
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "response_types_supported": [],
        "scopes_supported": ["openid", "offline_access"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": [
            "sub", "iss", "aud", "iat", "exp", "auth_time", "amr", "email", "email_verified", "groups", "roles",
        ],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "tls_client_certificate_bound_access_tokens": takes_certificates,
    }))
}

/// `/cis/oidc/auth`: the browser flow that this issuer does not have.
pub(super) async fn no_browser_flow() -> Response {
    absent("unsupported_response_type")
}

/// `/cis/oidc/request` and the other entrances to flows that this issuer does not have.
pub(super) async fn no_such_flow() -> Response {
    absent("invalid_request")
}

fn absent(error: &str) -> Response {
    let description = "this issuer signs in by the backend API only: /cis/v1/auth/link/email and /cis/v1/auth/otp";
    let body = json!({ "error": error, "error_description": description });
    (StatusCode::NOT_IMPLEMENTED, Json(body)).into_response()
}
