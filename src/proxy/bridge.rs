//! Calls the portal's router in-process: pingora's request in, axum's answer out.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{Method, header};
use pingora::proxy::Session;
use tower::ServiceExt as _;

use super::{Site, refusal};
use crate::clock::Timestamp;
use crate::portal::Visit;
use crate::portal::answer::Refusal;

/// The portal's forms are small; nothing longer is read.
const MOST_BODY_BYTES: usize = 64 * 1024;
/// The time for a form to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Answers the request with the portal. Gives the status.
///
/// # Errors
/// When the visitor's connection fails.
pub(super) async fn call(
    session: &mut Session,
    site: &Site,
    uri: http::Uri,
    visit: Visit,
    now: Timestamp,
) -> pingora::Result<u16> {
    let body = match read_body(session).await? {
        Ok(body) => body,
        Err(refused) => {
            let refuser = site.refuser(&visit.origin, &visit.request_id, visit.reader.clone(), now);
            let answer = refuser.answer(refused, &session.req_header().headers);
            return refusal::write(session, site, answer).await;
        }
    };
    let source = session.req_header();
    let mut request = http::Request::new(Body::from(body));
    *request.method_mut() = source.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = source.headers.clone();
    let portal = if visit.is_public { &site.portal } else { &site.portal_elsewhere };
    request.extensions_mut().insert(visit);
    let answer = portal.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
    refusal::write(session, site, answer).await
}

/// Reads a small body whole, or says why it is refused.
async fn read_body(session: &mut Session) -> pingora::Result<Result<Bytes, Refusal>> {
    let headers = &session.req_header().headers;
    // What nobody reads closes the connection after the answer.
    if session.req_header().method != Method::POST {
        return Ok(Ok(Bytes::new()));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MOST_BODY_BYTES as u64) {
        return Ok(Err(Refusal::Status(413)));
    }
    if headers.contains_key(header::EXPECT) {
        session.write_continue_response().await?;
    }
    let mut body = BytesMut::new();
    let reading = async {
        while let Some(chunk) = session.read_request_body().await? {
            if body.len() + chunk.len() > MOST_BODY_BYTES {
                return Ok(Err(Refusal::Status(413)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Ok(()))
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(Ok(()))) => Ok(Ok(body.freeze())),
        Ok(Ok(Err(refused))) => Ok(Err(refused)),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Err(Refusal::Status(408))),
    }
}
