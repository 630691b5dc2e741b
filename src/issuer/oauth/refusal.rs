//! Refusals in OAuth's words (RFC 6749 section 5.2).

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::issuer::api::{Refusal, Refused};
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
        let mut answer = (status, Json(OAuthRefused::new(error, description))).into_response();
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

/// The answer to a refused call of the OAuth side.
#[derive(Serialize, ToSchema)]
pub(super) struct OAuthRefused {
    /// Why, for programs.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// Why, for people.
    error_description: &'static str,
}

impl OAuthRefused {
    pub(super) const fn new(error: &'static str, error_description: &'static str) -> Self {
        Self { error, error_description }
    }
}

/// How every call may be refused by which a client proves itself.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "this is for the document; `OAuthRefusal` is what is answered")]
pub(super) enum ClientRefusals {
    /// The form is not in order.
    #[response(status = 400)]
    InvalidRequest(#[to_schema] OAuthRefused),
    /// The client is not who it says.
    #[response(status = 401)]
    InvalidClient(#[to_schema] OAuthRefused),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] OAuthRefused),
    /// Too many failed attempts to be this client; `Retry-After` says when to call again.
    #[response(status = 429)]
    TooManyAttempts(#[to_schema] OAuthRefused),
    /// The store does not answer; `Retry-After` says when to call again.
    #[response(status = 503)]
    Unavailable(#[to_schema] Refused),
}
