//! What the signed-in visitor may know about their session: identity and limits, no token.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::Serialize;

use super::answer::{Failure, Refusal};
use super::{Portal, Visit};
use crate::identity::{EmailAddress, Subject};

#[derive(Serialize)]
struct Shown<'a> {
    subject: &'a Subject,
    email: Option<&'a EmailAddress>,
    email_verified: bool,
    name: Option<&'a str>,
    groups: &'a [String],
    roles: &'a [String],
    /// RFC 3339.
    signed_in_at: String,
    /// RFC 3339.
    expires_at: String,
}

/// `GET /.linkgate/session`
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let live = portal.sessions.find(&headers, visit.place()).await?.live().ok_or(Refusal::SignInRequired)?;
    let identity = live.identity();
    let shown = Shown {
        subject: &identity.subject,
        email: identity.email.as_ref(),
        email_verified: identity.email_verified,
        name: identity.name.as_deref(),
        groups: &identity.groups,
        roles: &identity.roles,
        signed_in_at: live.signed_in_at().to_string(),
        expires_at: live.expires_at().to_string(),
    };
    Ok(Json(shown).into_response())
}
