//! Signing out: asked for on a page, done by a form, everywhere where that is wanted.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, header};
use serde::Deserialize;

use super::answer::{Failure, Refusal, see_other};
use super::{Portal, Visit, visit};
use crate::pages::{SignOut, SignedOut};
use crate::secret;

/// `GET /.linkgate/sign-out`
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Some(live) = portal.sessions.find(&headers, visit.place()).await?.live() else {
        return Ok(portal.refuser(&visit).show(&SignedOut { everywhere: false }));
    };
    let all_sites = portal.hosts.others().next().is_some();
    let view = SignOut { csrf: live.csrf_token(), address: live.identity().shown_name(), all_sites };
    Ok(portal.refuser(&visit).show(&view))
}

/// The fields of the form, each at most once.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    csrf: String,
    everywhere: String,
    then: String,
    return_to: String,
}

/// `POST /.linkgate/sign-out`
pub(super) async fn end(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let form: Form = serde_urlencoded::from_bytes(&body).map_err(|_| Refusal::BadRequest)?;
    if !visit::is_same_origin(&headers, &visit.origin) {
        return Err(Refusal::StaleForm.into());
    }
    let everywhere = !form.everywhere.is_empty();
    if let Some(live) = portal.sessions.find(&headers, visit.place()).await?.live() {
        if !secret::same(live.csrf_token().as_bytes(), form.csrf.as_bytes()) {
            return Err(Refusal::StaleForm.into());
        }
        if everywhere {
            portal.sessions.end_all(&live).await?;
            portal.note_sign_out_everywhere(live.identity(), &visit);
        } else {
            portal.sessions.end(&live).await?;
        }
        let subject = live.subject();
        portal.metrics.sign_in("signed_out");
        tracing::info!(request.id = visit.request_id, %subject, everywhere, "signed out");
    }
    let onward = match (form.then.as_str(), everywhere) {
        ("sign-in", _) => {
            let target = portal.accept(&form.return_to, &visit);
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &target).finish();
            format!("/.linkgate/sign-in?{query}")
        }
        (_, true) => "/.linkgate/signed-out?everywhere=1".to_owned(),
        (_, false) => "/.linkgate/signed-out".to_owned(),
    };
    let mut answer = see_other(&onward);
    answer.headers_mut().append(header::SET_COOKIE, portal.sessions.clearing_cookie());
    answer.headers_mut().append(header::SET_COOKIE, portal.no_rounds());
    Ok(answer)
}

/// `GET /.linkgate/signed-out`
pub(super) async fn done(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    // The page says what is true: whoever is signed in gets the page that asks.
    if portal.sessions.find(&headers, visit.place()).await?.live().is_some() {
        return Ok(see_other("/.linkgate/sign-out"));
    }
    let everywhere = query.as_deref() == Some("everywhere=1");
    Ok(portal.refuser(&visit).show(&SignedOut { everywhere }))
}
