//! The body of a call: fields that come once each (RFC 6749 section 3.2).

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::refusal::OAuthRefusal;

/// The fields of a form; those that nobody knows are ignored.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = OAuthRefusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthRefusal> {
        let body = Bytes::from_request(request, state).await.map_err(|_| OAuthRefusal::TooLarge)?;
        // A field without a value counts as none (RFC 6749 section 3.1).
        let given = form_urlencoded::parse(&body).filter(|(_, value)| !value.is_empty());
        let given = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        // Every field is optional text, so a second value is all that can be wrong.
        let fields = serde_urlencoded::from_str(&given);
        fields.map(Self).map_err(|_| OAuthRefusal::InvalidRequest("a field is given twice"))
    }
}

/// Who a client says it is, where the `Authorization` header does not say it (RFC 6749 section 2.3.1, RFC 7521
/// section 4.2).
#[derive(Deserialize, ToSchema)]
pub(super) struct ClientFields {
    pub(super) client_id: Option<String>,
    #[schema(format = "password")]
    pub(super) client_secret: Option<String>,
    /// With `client_assertion`.
    #[schema(example = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")]
    pub(super) client_assertion_type: Option<String>,
    /// A JWT that the client signed.
    pub(super) client_assertion: Option<String>,
}

/// A call about one token.
#[derive(Deserialize, ToSchema)]
pub(super) struct AboutToken {
    #[serde(flatten)]
    pub(super) client: ClientFields,
    /// An access token or a refresh token.
    #[schema(required)]
    token: Option<String>,
    /// Which of both it is. Nothing depends on it.
    #[serde(rename = "token_type_hint")]
    #[schema(example = "refresh_token")]
    _token_type_hint: Option<String>,
}

impl AboutToken {
    pub(super) fn token(&self) -> Result<&str, OAuthRefusal> {
        needed(self.token.as_ref(), "token is missing")
    }
}

/// The value of a field that must be there.
pub(super) fn needed<'f>(field: Option<&'f String>, missing: &'static str) -> Result<&'f str, OAuthRefusal> {
    field.map(String::as_str).ok_or(OAuthRefusal::InvalidRequest(missing))
}
