//! What the proxy answers by itself: a redirect to sign-in, or a refusal as a page or as JSON.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::access::Reason;
use super::canonical::Malformed;
use super::objected::Objected;
use crate::pages::NoAccess;
use crate::portal::answer::{self, Refusal, Refuser};
use crate::portal::{return_to, visit};
use crate::session::Live;

/// The refusal of a request that has two readings.
pub(super) const fn of_malformed(malformed: Malformed) -> Refusal {
    match malformed.status() {
        400 => Refusal::BadRequest,
        status => Refusal::Status(status),
    }
}

/// The answer to a visitor who must sign in: a redirect for someone who opens a page, 401 for everything else.
pub(super) fn sign_in(
    refuser: &Refuser<'_>,
    method: &Method,
    headers: &HeaderMap,
    target: &str,
) -> http::Response<Body> {
    if !visit::is_navigation(method, headers) {
        return refuser.answer(Refusal::SignInRequired, headers);
    }
    lead_to_sign_in(refuser, target, &[])
}

/// The answer to a visitor whose sign-in is too old for what they ask for: they prove once more who they are, and
/// land on the page they wanted.
pub(super) fn step_up(
    refuser: &Refuser<'_>,
    method: &Method,
    headers: &HeaderMap,
    target: &str,
    max_age: Duration,
) -> http::Response<Body> {
    if !visit::is_navigation(method, headers) {
        return refuser.answer(Refusal::StepUpRequired { max_age }, headers);
    }
    lead_to_sign_in(refuser, target, &[("step_up", "1")])
}

fn lead_to_sign_in(refuser: &Refuser<'_>, target: &str, how: &[(&str, &str)]) -> http::Response<Body> {
    let target = return_to::accept(target, refuser.public_url);
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(how).append_pair("return_to", &target).finish();
    let mut redirect = answer::see_other(&format!("/.linkgate/sign-in?{query}"));
    answer::dress(redirect.headers_mut(), refuser.request_id, refuser.public_url);
    redirect
}

/// The answer to a visitor who may not pass, signed in or not.
pub(super) fn no_access(
    refuser: &Refuser<'_>,
    objected: &Objected,
    headers: &HeaderMap,
    target: &str,
) -> http::Response<Body> {
    let (visitor, told) = (objected.visitor(), objected.told());
    // Whoever sends a form is answered as a person too.
    if !visit::is_navigation(&Method::GET, headers) {
        return refuser.answer_no_access(told.reason.map(Reason::code), told.text, headers);
    }
    let mut page = refuser.show(&NoAccess {
        address: visitor.map(|visitor| visitor.session().shown_name()),
        csrf: visitor.map(Live::csrf_token).unwrap_or_default(),
        return_to: return_to::accept(target, refuser.public_url),
        reason: told.reason.map(Reason::code),
        text: told.text.map(str::to_owned),
    });
    *page.status_mut() = Refusal::NoAccess.status();
    page
}

/// Sends an answer of the gateway's own. Gives its status.
///
/// # Errors
/// When the visitor's connection fails.
pub(super) async fn write(session: &mut Session, answer: http::Response<Body>) -> pingora::Result<u16> {
    let (mut parts, body) = answer.into_parts();
    // The HTTP/1 writer takes no other version.
    parts.version = http::Version::HTTP_11;
    let status = parts.status;
    // Every answer of the gateway is made whole before it is sent.
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return pingora::Error::e_explain(pingora::ErrorType::InternalError, "an answer broke off");
    };
    // The answer to HEAD says what that to GET would (RFC 9110 section 9.3.2).
    let head = session.req_header().method == Method::HEAD;
    let said = head && parts.headers.contains_key(header::CONTENT_LENGTH);
    if status != http::StatusCode::NO_CONTENT && !said {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let end = body.is_empty() || head;
    session.write_response_header(Box::new(ResponseHeader::from(parts)), end).await?;
    if !end {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(status.as_u16())
}
