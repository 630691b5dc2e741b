//! Refusals in OAuth's words (RFC 6749 section 5.2).

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::issuer::api::Refusal;
use crate::issuer::client::BadResource;
use crate::issuer::signing_key;
use crate::store;

/// Why a call of the OAuth side is refused.
#[derive(Debug)]
pub(in crate::issuer) enum OAuthRefusal {
    /// The form is not in order.
    InvalidRequest(&'static str),
    /// The client is not who it says; `by_basic` where it said so in the `Authorization` header.
    InvalidClient {
        by_basic: bool,
    },
    /// Too many failed attempts to be this client; the seconds until the next.
    TooManyAttempts(u64),
    /// The refresh token is not one of this client's, or not any more.
    InvalidGrant,
    /// The resource is none (RFC 8707 section 2).
    InvalidTarget,
    UnsupportedGrantType,
    TooLarge,
    /// What has nothing to do with OAuth.
    Other(Refusal),
}

impl From<store::Error> for OAuthRefusal {
    fn from(error: store::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<signing_key::Error> for OAuthRefusal {
    fn from(error: signing_key::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<BadResource> for OAuthRefusal {
    fn from(BadResource: BadResource) -> Self {
        Self::InvalidTarget
    }
}

impl IntoResponse for OAuthRefusal {
    fn into_response(self) -> Response {
        let (status, error, description) = match self {
            Self::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", why),
            Self::InvalidClient { .. } => (StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed"),
            Self::TooManyAttempts(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "invalid_client", "client authentication failed too often; wait")
            }
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant", "the refresh token is invalid"),
            Self::InvalidTarget => {
                (StatusCode::BAD_REQUEST, "invalid_target", "the resource is not one of those of this client")
            }
            Self::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "only client_credentials and refresh_token are supported",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large"),
            Self::Other(refusal) => return refusal.into_response(),
        };
        let mut answer = (status, Json(json!({ "error": error, "error_description": description }))).into_response();
        match self {
            Self::InvalidClient { by_basic: true } => {
                answer.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Basic realm=\"issuer\""));
            }
            Self::TooManyAttempts(seconds) => {
                answer.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from(seconds));
            }
            _ => {}
        }
        answer
    }
}
