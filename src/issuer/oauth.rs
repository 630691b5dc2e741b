//! The OAuth side: client access tokens (RFC 6749 section 4.4), the key set (RFC 7517) and discovery
//! (OpenID Connect Discovery 1.0).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::Inner;
use super::api::Refusal;
use super::client::Client;
use super::tokens::LIFETIME_SECONDS;

/// The calls that need no client access token, because they give one or say what everybody may know.
pub(super) fn router() -> Router<Arc<Inner>> {
    Router::new()
        .route("/oidc/token", post(token))
        .route("/cis/oidc/token", post(token))
        .route("/cis/oidc/jwks", get(key_set))
        .route("/cis/oidc/.well-known/openid-configuration", get(discovery))
}

/// A refusal of the token endpoint (RFC 6749 section 5.2).
enum OAuthRefusal {
    InvalidRequest(&'static str),
    InvalidClient { by_basic: bool },
    UnsupportedGrantType,
    TooLarge,
}

impl IntoResponse for OAuthRefusal {
    fn into_response(self) -> Response {
        let (status, error, description) = match &self {
            Self::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", *why),
            Self::InvalidClient { .. } => (StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed"),
            Self::UnsupportedGrantType => {
                (StatusCode::BAD_REQUEST, "unsupported_grant_type", "only client_credentials is supported")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large"),
        };
        let body = Json(json!({ "error": error, "error_description": description }));
        match self {
            Self::InvalidClient { by_basic: true } => {
                (status, [(WWW_AUTHENTICATE, "Basic realm=\"issuer\"")], body).into_response()
            }
            _ => (status, body).into_response(),
        }
    }
}

/// `POST /oidc/token` and `POST /cis/oidc/token`
async fn token(State(issuer): State<Arc<Inner>>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let Ok(body) = body else { return OAuthRefusal::TooLarge.into_response() };
    let client = match admit(&issuer, &headers, &body) {
        Ok(client) => client,
        Err(refusal) => return refusal.into_response(),
    };
    match issuer.client_access_token(&client) {
        Ok(access_token) => Json(json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "scope": "openid",
        }))
        .into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

fn admit(issuer: &Inner, headers: &HeaderMap, body: &[u8]) -> Result<Arc<Client>, OAuthRefusal> {
    let form: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(body).collect();
    let grant_type = field(&form, "grant_type")?.ok_or(OAuthRefusal::InvalidRequest("grant_type is missing"))?;
    let id = field(&form, "client_id")?;
    let secret = field(&form, "client_secret")?;
    let basic = basic_credentials(headers)?;
    let (id, secret) = match (&basic, id, secret) {
        (Some(_), _, Some(_)) => return Err(OAuthRefusal::InvalidRequest("the client authenticates in two ways")),
        (Some((basic_id, secret)), id, None) if id.is_none_or(|id| id == basic_id) => {
            (basic_id.as_str(), secret.as_str())
        }
        (None, Some(id), Some(secret)) => (id, secret),
        _ => return Err(OAuthRefusal::InvalidClient { by_basic: basic.is_some() }),
    };
    let client = issuer.clients.find(id).filter(|client| client.has_secret(secret));
    let client = client.ok_or(OAuthRefusal::InvalidClient { by_basic: basic.is_some() })?;
    if grant_type == "client_credentials" { Ok(Arc::clone(client)) } else { Err(OAuthRefusal::UnsupportedGrantType) }
}

/// The value of a field; RFC 6749 section 3.2 forbids a second one, and an empty one counts as none.
fn field<'a>(form: &'a [(Cow<'_, str>, Cow<'_, str>)], name: &str) -> Result<Option<&'a str>, OAuthRefusal> {
    let mut values = form.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_ref());
    let first = values.next().filter(|value| !value.is_empty());
    if values.next().is_some() {
        return Err(OAuthRefusal::InvalidRequest("a field is given twice"));
    }
    Ok(first)
}

/// `Authorization: Basic`, both halves form-encoded (RFC 6749 section 2.3.1).
fn basic_credentials(headers: &HeaderMap) -> Result<Option<(String, String)>, OAuthRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), second) = (values.next(), values.next()) else { return Ok(None) };
    let credentials = value.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, encoded)| {
        let decoded = STANDARD.decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let decoded = String::from_utf8(decoded).ok()?;
        decoded.split_once(':').map(|(id, secret)| (form_decoded(id), form_decoded(secret)))
    });
    match (credentials, second) {
        (Some(credentials), None) => Ok(Some(credentials)),
        _ => Err(OAuthRefusal::InvalidClient { by_basic: true }),
    }
}

fn form_decoded(text: &str) -> String {
    // Raw separators are data here; encoded, they survive the form parser.
    let text = text.replace('=', "%3D").replace('&', "%26");
    form_urlencoded::parse(text.as_bytes()).next().map_or_else(String::new, |(value, _)| value.into_owned())
}

/// `GET /cis/oidc/jwks`
async fn key_set(State(issuer): State<Arc<Inner>>) -> Json<Value> {
    Json(issuer.keys.key_set())
}

/// `GET /cis/oidc/.well-known/openid-configuration`
async fn discovery(State(issuer): State<Arc<Inner>>) -> Json<Value> {
    let name = issuer.issuer_name();
    Json(json!({
        "issuer": name,
        "token_endpoint": format!("{name}/cis/oidc/token"),
        "jwks_uri": format!("{name}/cis/oidc/jwks"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    }))
}
