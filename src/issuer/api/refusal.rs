//! How the API refuses: one type for the code, and the four shapes that Mosaic has for the answer.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::issuer::signing_key;
use crate::store;

/// Why a call is refused, in the shapes that Mosaic uses.
#[derive(Debug)]
pub(in crate::issuer) enum Refusal {
    /// `{"message": text, "error_code": number}`
    Numbered(StatusCode, &'static str),
    /// `{"message": text, "error_code": "number"}`, as the magic-link calls have it.
    Worded(StatusCode, &'static str),
    /// Fields that do not hold what they should: `{"message": [text], "error_code": 400}`.
    Fields(Vec<String>),
    /// 409 with Mosaic's own symbol.
    Conflict(&'static str, &'static str),
    /// `{"error_code": symbol, "message": text}`, as the one-time-code calls have it.
    Symbol(StatusCode, &'static str, Cow<'static, str>),
    /// The store did not answer.
    Store(store::Error),
    /// A token could not be signed.
    Signing(signing_key::Error),
}

impl Refusal {
    pub(in crate::issuer) const NO_USER: Self = Self::Numbered(StatusCode::NOT_FOUND, "User not found");
    pub(in crate::issuer) const NO_SESSION: Self = Self::Numbered(StatusCode::BAD_REQUEST, "Session not found");

    pub(in crate::issuer) const NOT_ACTIVE: Self = Self::Worded(StatusCode::FORBIDDEN, "User is not active");

    pub(in crate::issuer) fn field(message: &str) -> Self {
        Self::Fields(vec![message.to_owned()])
    }

    /// The same refusal in the shape of the one-time-code calls.
    pub(in crate::issuer) fn into_invalid_input(self) -> Self {
        match self {
            Self::Worded(StatusCode::FORBIDDEN, message) => {
                Self::Symbol(StatusCode::FORBIDDEN, "user_not_active", message.into())
            }
            Self::Worded(StatusCode::BAD_REQUEST, message) | Self::Numbered(StatusCode::BAD_REQUEST, message) => {
                Self::Symbol(StatusCode::BAD_REQUEST, "system_invalid_input", message.into())
            }
            Self::Fields(messages) => {
                Self::Symbol(StatusCode::BAD_REQUEST, "system_invalid_input", messages.join("; ").into())
            }
            other => other,
        }
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
        match self {
            Self::Numbered(status, message) => Refused::answer(status, Messages::One(message.to_owned())),
            Self::Worded(status, message) => {
                let body = WordedRefused { message: message.to_owned(), error_code: status.as_str().to_owned() };
                (status, Json(body)).into_response()
            }
            Self::Fields(messages) => Refused::answer(StatusCode::BAD_REQUEST, Messages::Each(messages)),
            Self::Conflict(message, symbol) => {
                let status = StatusCode::CONFLICT;
                let (message, ts_error_code) = (message.to_owned(), symbol.to_owned());
                (status, Json(ConflictRefused { message, error_code: status.as_u16(), ts_error_code })).into_response()
            }
            Self::Symbol(status, symbol, message) => {
                let body = SymbolRefused { error_code: symbol.to_owned(), message: message.into_owned() };
                (status, Json(body)).into_response()
            }
            Self::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the issuer's store failed");
                let message = Messages::One("Service unavailable".to_owned());
                ([(RETRY_AFTER, "5")], Refused::answer(StatusCode::SERVICE_UNAVAILABLE, message)).into_response()
            }
            Self::Signing(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the issuer cannot sign");
                let message = Messages::One("Internal server error".to_owned());
                Refused::answer(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }
}

impl Refused {
    fn answer(status: StatusCode, message: Messages) -> Response {
        (status, Json(Self { message, error_code: status.as_u16() })).into_response()
    }
}

/// The answer to a refused call.
#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct Refused {
    message: Messages,
    /// The status once more.
    #[schema(minimum = 400, maximum = 599)]
    error_code: u16,
}

/// One text, or one for each field that is not what it should be.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Messages {
    One(String),
    Each(Vec<String>),
}

/// The answer to a refused magic-link call; a field that is not what it should be is refused in the other shape.
#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct WordedRefused {
    message: String,
    /// The status once more, as text.
    #[schema(pattern = "^[45][0-9]{2}$")]
    error_code: String,
}

/// Either shape.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "this is for the document; `Refusal` is what is answered")]
pub(in crate::issuer) enum LinkRefused {
    Worded(WordedRefused),
    Numbered(Refused),
}

/// The answer to a refused one-time-code call.
#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct SymbolRefused {
    /// Why, for programs.
    #[schema(example = "auth_invalid_credentials")]
    error_code: String,
    /// Why, for people.
    message: String,
}

/// The answer to a call whose value is taken.
#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct ConflictRefused {
    message: String,
    #[schema(minimum = 409, maximum = 409)]
    error_code: u16,
    /// What is taken, for programs.
    #[schema(example = "user_already_exists")]
    ts_error_code: String,
}

/// How every call that needs a client access token may be refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "this is for the document; `Refusal` is what is answered")]
pub(in crate::issuer) enum CommonRefusals {
    /// There is no client access token, or it is not valid.
    #[response(status = 401)]
    InvalidToken(#[to_schema] Refused),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Refused),
    /// A fault of the issuer.
    #[response(status = 500)]
    Fault(#[to_schema] Refused),
    /// The store does not answer; `Retry-After` says when to call again.
    #[response(status = 503)]
    Unavailable(#[to_schema] Refused),
}
