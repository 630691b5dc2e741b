//! What the proxy answers by itself: a redirect to sign-in, or a refusal as a page or as JSON.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::Site;
use super::access::Reason;
use super::canonical::Malformed;
use super::objected::Objected;
use crate::credential::Visitor;
use crate::origin::Hosts;
use crate::pages::{NoAccess, Pages};
use crate::portal::answer::{self, Refusal, Refuser};
use crate::portal::{return_to, visit};

const ASSETS: &str = "/.linkgate/assets/";

/// The refusal of a request that has two readings.
pub(super) const fn of_malformed(malformed: Malformed) -> Refusal {
    match malformed.status() {
        400 => Refusal::BadRequest,
        status => Refusal::Status(status),
    }
}

/// A request that the gateway answers itself.
pub(super) struct Refused<'a> {
    pub(super) refuser: Refuser<'a>,
    pub(super) hosts: &'a Hosts,
    pub(super) request: &'a RequestHeader,
    /// What it asked for.
    pub(super) target: &'a str,
}

impl Refused<'_> {
    /// The answer to a visitor who must sign in: a redirect for someone who opens a page, 401 for everything else.
    pub(super) fn sign_in(&self) -> http::Response<Body> {
        if !self.is_navigation() {
            return self.refuser.answer(Refusal::SignInRequired, &self.request.headers);
        }
        self.lead_to_sign_in(&[])
    }

    /// The answer to a visitor whose sign-in is too old for what they ask for: they prove once more who they are, and
    /// land on the page they wanted.
    pub(super) fn step_up(&self, max_age: Duration) -> http::Response<Body> {
        if !self.is_navigation() {
            return self.refuser.answer(Refusal::StepUpRequired { max_age }, &self.request.headers);
        }
        self.lead_to_sign_in(&[("step_up", "1")])
    }

    fn is_navigation(&self) -> bool {
        visit::is_navigation(&self.request.method, &self.request.headers)
    }

    fn return_to(&self) -> String {
        return_to::accept(self.target, self.refuser.origin, self.hosts)
    }

    fn lead_to_sign_in(&self, how: &[(&str, &str)]) -> http::Response<Body> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(how).append_pair("return_to", &self.return_to()).finish();
        let mut redirect = answer::see_other(&format!("/.linkgate/sign-in?{query}"));
        answer::dress(redirect.headers_mut(), self.refuser.request_id, self.refuser.origin);
        redirect
    }

    /// The answer at a host that nobody set up: a page, and what that page looks like. The logo would say whose it is.
    pub(super) fn unknown_host(&self, pages: &Pages) -> http::Response<Body> {
        let is_read = matches!(self.request.method, Method::GET | Method::HEAD);
        let name = self.request.uri.path().strip_prefix(ASSETS).filter(|name| is_read && *name != "logo");
        let Some(asset) = name.and_then(|name| pages.asset(name)) else {
            return self.refuser.answer(Refusal::UnknownHost, &self.request.headers);
        };
        let mut answer = answer::asset(asset);
        answer::dress(answer.headers_mut(), self.refuser.request_id, self.refuser.origin);
        answer
    }

    /// The answer to a visitor who may not pass, signed in or not.
    pub(super) fn no_access(&self, objected: &Objected) -> http::Response<Body> {
        let (visitor, told) = (objected.visitor(), objected.told());
        // Whoever sends a form is answered as a person too.
        if !visit::is_navigation(&Method::GET, &self.request.headers) {
            let reason = told.reason.map(Reason::code);
            return self.refuser.answer_no_access(reason, told.text, &self.request.headers);
        }
        let mut page = self.refuser.show(&NoAccess {
            address: visitor.map(|visitor| visitor.identity().shown_name()),
            csrf: visitor.and_then(Visitor::session).map(|live| live.csrf_token()).unwrap_or_default(),
            return_to: self.return_to(),
            reason: told.reason.map(Reason::code),
            text: told.text.map(str::to_owned),
            ask: objected.may_ask().then(|| objected.route().to_owned()),
        });
        *page.status_mut() = Refusal::NoAccess.status();
        page
    }
}

/// What our pages may do, where there are other hosts: a form of ours may end there, and browsers hold each redirect
/// against the page that the form was on.
pub fn content_policy(hosts: &Hosts) -> Option<HeaderValue> {
    let others: Vec<String> = hosts.others().map(|origin| origin.to_string()).collect();
    if others.is_empty() {
        return None;
    }
    // The public host is another one for the pages of the others.
    let all = [vec![hosts.public_url().to_string()], others].concat();
    let own = answer::CONTENT_POLICY;
    let policy = own.to_str().ok()?.replace("form-action 'self'", &format!("form-action 'self' {}", all.join(" ")));
    HeaderValue::from_str(&policy).ok()
}

/// Sends an answer of the gateway's own. Gives its status.
///
/// # Errors
/// When the visitor's connection fails.
pub(super) async fn write(session: &mut Session, site: &Site, answer: http::Response<Body>) -> pingora::Result<u16> {
    let (mut parts, body) = answer.into_parts();
    if let Some(policy) = &site.content_policy
        && parts.headers.get(header::CONTENT_SECURITY_POLICY) == Some(&answer::CONTENT_POLICY)
    {
        parts.headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
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
