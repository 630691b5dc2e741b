//! What programs are told about the tokens that a route takes (`WWW-Authenticate`, RFC 9110 section 11.6.1).

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, header};

use super::refusal::Refused;
use crate::portal::answer::Refusal;

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"linkgate\"");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"linkgate\", charset=\"UTF-8\"");
const INSUFFICIENT: HeaderValue = HeaderValue::from_static("Bearer realm=\"linkgate\", error=\"insufficient_scope\"");

/// Says that a token would do. Where nothing was shown there is no error to tell.
pub(super) fn ask_for_token(answer: &mut http::Response<Body>, asked: &HeaderMap) {
    answer.headers_mut().append(header::WWW_AUTHENTICATE, BEARER);
    ask_for_password(answer, asked);
}

/// Says that a token may be the password of `Basic`, as git wants it. Browsers would ask their user for one.
pub(super) fn ask_for_password(answer: &mut http::Response<Body>, asked: &HeaderMap) {
    if !asked.contains_key("sec-fetch-mode") && !asked.contains_key("sec-fetch-site") {
        answer.headers_mut().append(header::WWW_AUTHENTICATE, BASIC);
    }
}

/// Says that somebody with this token may not, whatever they do.
pub(super) fn say_insufficient(answer: &mut http::Response<Body>) {
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, INSUFFICIENT);
}

/// The answer to a token that says of no sign-in, or of one too long ago (RFC 9470 section 3). There is nobody to lead
/// to a page.
pub(super) fn ask_for_recent_token(refused: &Refused<'_>, max_age: Duration) -> http::Response<Body> {
    let mut answer = refused.refuser.answer(Refusal::StepUpRequired { max_age }, &refused.request.headers);
    let challenge = format!(
        "Bearer realm=\"linkgate\", error=\"insufficient_user_authentication\", \
         error_description=\"A more recent sign-in is required\", max_age=\"{}\"",
        max_age.as_secs()
    );
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}
