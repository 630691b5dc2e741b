//! The body of a call: fields that come once each (RFC 6749 section 3.2).

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use url::form_urlencoded;

use super::refusal::OAuthRefusal;

/// The fields of a form.
pub(super) struct Form(Bytes);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = OAuthRefusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthRefusal> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|_| OAuthRefusal::TooLarge)
    }
}

impl Form {
    /// The value of a field; a second one is forbidden, and an empty one counts as none.
    pub(super) fn field(&self, name: &str) -> Result<Option<Cow<'_, str>>, OAuthRefusal> {
        let mut values = form_urlencoded::parse(&self.0).filter(|(found, _)| found == name).map(|(_, value)| value);
        let first = values.next().filter(|value| !value.is_empty());
        if values.next().is_some() {
            return Err(OAuthRefusal::InvalidRequest("a field is given twice"));
        }
        Ok(first)
    }

    /// The value of a field that must be there.
    pub(super) fn needed(&self, name: &str, missing: &'static str) -> Result<Cow<'_, str>, OAuthRefusal> {
        self.field(name)?.ok_or(OAuthRefusal::InvalidRequest(missing))
    }
}
