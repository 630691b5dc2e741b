//! The routes of Mosaic's API, who may call them, and how they refuse.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::tls::Peer;
use super::{Inner, link, oauth, refresh, sessions, signing_key, users};
use crate::store;

/// The bearer token of a call is missing, or is not one that may make it.
pub(super) const INVALID_TOKEN: Refusal = Refusal::Numbered(StatusCode::UNAUTHORIZED, "Invalid token");

/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

pub(super) fn router(issuer: Arc<Inner>) -> Router {
    let guarded = Router::new()
        .route("/cis/v1/auth/link/email/send", post(link::send))
        .route("/cis/v1/auth/link/email/authenticate", post(link::authenticate))
        .route("/cis/v1/auth/session/authenticate", post(sessions::authenticate))
        .route("/cis/v1/auth/session/logout", post(sessions::logout))
        .route("/cis/v1/auth/token/refresh", post(refresh::refresh))
        .route("/cis/v1/auth/users/{user_id}/sessions", get(sessions::list).delete(sessions::end_all))
        .route("/cis/v1/users", post(users::create))
        .route("/cis/v1/users/{user_id}", get(users::by_id))
        .route("/cis/v1/users/email/{email}", get(users::by_email))
        .route_layer(middleware::from_fn_with_state(issuer.clone(), require_client));
    oauth::router()
        .merge(guarded)
        .fallback(|| async { Refusal::Numbered(StatusCode::NOT_FOUND, "Not found") })
        .method_not_allowed_fallback(|| async {
            Refusal::Numbered(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::map_response(no_store))
        .with_state(issuer)
}

/// Tokens and users are nobody's to keep (RFC 6749 section 5.1).
pub(super) async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets clients in, and tells the call who makes it.
async fn require_client(State(issuer): State<Arc<Inner>>, mut request: Request, next: Next) -> Response {
    let caller = match bearer(request.headers()) {
        Some(token) => issuer.caller(token, Peer::of(request.extensions())).await,
        None => Ok(None),
    };
    match caller {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => INVALID_TOKEN.into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Why a call is refused, in the shapes that Mosaic uses.
#[derive(Debug)]
pub(super) enum Refusal {
    /// `{"message": text, "error_code": number}`
    Numbered(StatusCode, &'static str),
    /// `{"message": text, "error_code": "number"}`, as the magic-link calls have it.
    Worded(StatusCode, &'static str),
    /// Fields that do not hold what they should: `{"message": [text], "error_code": 400}`.
    Fields(Vec<String>),
    /// 409 with Mosaic's own symbol.
    Conflict(&'static str, &'static str),
    /// The store did not answer.
    Store(store::Error),
    /// A token could not be signed.
    Signing(signing_key::Error),
}

impl Refusal {
    pub(super) const NO_USER: Self = Self::Numbered(StatusCode::NOT_FOUND, "User not found");
    pub(super) const NO_SESSION: Self = Self::Numbered(StatusCode::BAD_REQUEST, "Session not found");

    pub(super) fn field(message: &str) -> Self {
        Self::Fields(vec![message.to_owned()])
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<signing_key::Error> for Refusal {
    fn from(error: signing_key::Error) -> Self {
        Self::Signing(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, body): (StatusCode, Value) = match self {
            Self::Numbered(status, message) => (status, json!({ "message": message, "error_code": status.as_u16() })),
            Self::Worded(status, message) => (status, json!({ "message": message, "error_code": status.as_str() })),
            Self::Fields(messages) => (StatusCode::BAD_REQUEST, json!({ "message": messages, "error_code": 400 })),
            Self::Conflict(message, symbol) => {
                (StatusCode::CONFLICT, json!({ "message": message, "error_code": 409, "ts_error_code": symbol }))
            }
            Self::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the issuer's store failed");
                let body = json!({ "message": "Service unavailable", "error_code": 503 });
                return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], Json(body)).into_response();
            }
            Self::Signing(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the issuer cannot sign");
                let body = json!({ "message": "Internal server error", "error_code": 500 });
                (StatusCode::INTERNAL_SERVER_ERROR, body)
            }
        };
        (status, Json(body)).into_response()
    }
}

/// A JSON body, whatever its `Content-Type` says; members nobody knows are ignored.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Refusal::Numbered(rejection.status(), "The body cannot be read"))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Refusal::Fields(vec![error.to_string()]))
    }
}

/// The one variable segment of a path, percent-decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(segment) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::Numbered(StatusCode::BAD_REQUEST, "The path cannot be read"))?;
        Ok(Self(segment))
    }
}
