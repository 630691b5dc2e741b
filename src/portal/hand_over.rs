//! One sign-in for all hosts: a browser that comes to another host than the public one is sent to that, and comes back with
//! a ticket, which it gets if it is signed in there. No cookie is seen by two hosts, so none has to be a third party's.
//!
//! What the browser takes along opens with its own cookie on the host that it came from. So a ticket that somebody else
//! got, or that was seen on the way, is of no use in another browser, and nobody is signed in without knowing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method, header};

use super::answer::{Failure, Refusal, see_other};
use super::{Portal, Visit, visit};
use crate::origin::Origin;
use crate::session::Found;
use crate::session::attempt::{Browser, is_token};
use crate::session::hand_over::{HandOver, is_state};

/// Where the public host sends a browser on from.
pub(super) const HAND_OVER: &str = "/.linkgate/hand-over";
/// Where the other host takes it in.
pub(super) const ARRIVE: &str = "/.linkgate/arrive";

/// The parameters of both, each at most once.
#[derive(Default)]
struct Parameters {
    host: String,
    state: String,
    ticket: String,
    return_to: String,
}

impl Parameters {
    fn parse(query: Option<&str>) -> Option<Self> {
        let mut parameters = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let slot = match &*name {
                "host" => &mut parameters.host,
                "state" => &mut parameters.state,
                "ticket" => &mut parameters.ticket,
                "return_to" => &mut parameters.return_to,
                _ => continue,
            };
            if !std::mem::replace(slot, value.into_owned()).is_empty() {
                return None;
            }
        }
        is_state(&parameters.state).then_some(parameters)
    }
}

/// `GET /.linkgate/sign-in?return_to=…` on another host than the public one.
pub(super) async fn begin(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asked = super::query_value(query.as_deref(), "return_to");
    let return_to = portal.accept(&asked, &visit);
    let found = portal.sessions.find(&headers, visit.place()).await?;
    if let Found::Session(_) = &found {
        // Whoever is signed in, and is asked once more or wants to be another, has a page for that on the public host.
        let step_up = super::query_value(query.as_deref(), "step_up") == "1";
        return Ok(see_other(&portal.public_sign_in(&visit.origin, &return_to, step_up)));
    }
    if let Some(page) = portal.broken_loop(&visit, &headers, &return_to, &found) {
        return Ok(page);
    }
    let known = Browser::find(portal.jar, &headers);
    let browser = known.clone().unwrap_or_default();
    let begun_at = portal.clock.now();
    let hand_over = HandOver { host: visit.origin.host.clone(), return_to: return_to.clone(), begun_at };
    let query = [("host", hand_over.host.as_str()), ("state", &hand_over.state(&browser)), ("return_to", &return_to)];
    let mut answer = see_other(&with_query(&portal.public_url.join(HAND_OVER), &query));
    if known.is_none() {
        answer.headers_mut().append(header::SET_COOKIE, browser.cookie(portal.jar));
    }
    if let Found::Over(_) = found {
        answer.headers_mut().append(header::SET_COOKIE, portal.sessions.clearing_cookie());
    }
    Ok(answer)
}

/// `GET /.linkgate/hand-over?host=…&state=…&return_to=…` on the public host.
pub(super) async fn hand_over(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if method != Method::GET {
        return Err(Refusal::Status(405).into());
    }
    let parameters = Parameters::parse(query.as_deref()).ok_or(Refusal::BadRequest)?;
    let origin = portal.hosts.origin(&parameters.host).filter(|origin| *origin != portal.public_url);
    let origin = origin.filter(|_| visit::is_deliberate(&headers)).ok_or(Refusal::BadRequest)?;
    let Parameters { host, state, return_to, .. } = parameters;
    let there = Visit { origin, is_public: false, ..visit.clone() };
    let return_to = portal.accept(&return_to, &there);
    let Some(live) = portal.sessions.find(&headers, visit.place()).await?.live() else {
        return Ok(see_other(&portal.public_sign_in(&there.origin, &return_to, false)));
    };
    let ticket = portal.sessions.ticket(&live, &host, &state).await?;
    let query = [("ticket", ticket.expose().as_str()), ("state", &state), ("return_to", &return_to)];
    Ok(see_other(&with_query(&there.origin.join(ARRIVE), &query)))
}

/// `GET /.linkgate/arrive?ticket=…&state=…&return_to=…` on the host that the browser came from.
pub(super) async fn arrive(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if method != Method::GET {
        return Err(Refusal::Status(405).into());
    }
    let parameters = Parameters::parse(query.as_deref()).ok_or(Refusal::BadRequest)?;
    if !is_token(&parameters.ticket) || !visit::is_deliberate(&headers) {
        return Err(Refusal::BadRequest.into());
    }
    let return_to = portal.accept(&parameters.return_to, &visit);
    let Some(browser) = Browser::find(portal.jar, &headers) else {
        return Ok(portal.cookies_blocked(&visit, &headers, &return_to, false));
    };
    let host = &visit.origin.host;
    let hand_over = HandOver::open(&parameters.state, &browser, host, portal.clock.now());
    let seat = match &hand_over {
        // Whoever else comes with the ticket does not spend it.
        None => None,
        Some(_) => portal.sessions.sit_down(&parameters.ticket, host, &parameters.state).await?,
    };
    let (Some(hand_over), Some(cookie)) = (hand_over, seat) else {
        if portal.sessions.find(&headers, visit.place()).await?.live().is_some() {
            return Ok(see_other(&return_to));
        }
        tracing::info!(request.id = visit.request_id, "did not take a browser over: ticket or browser is another");
        let mut answer = see_other(&with_query("/.linkgate/sign-in", &[("return_to", &return_to)]));
        answer.headers_mut().append(header::SET_COOKIE, portal.completed_round(&headers));
        return Ok(answer);
    };
    // The one that this browser had before, whoever's it was.
    portal.sessions.stand_up(&headers, visit.place()).await?;
    tracing::info!(request.id = visit.request_id, http.host = host, "took a browser over from the public host");
    let mut answer = see_other(&hand_over.return_to);
    answer.headers_mut().append(header::SET_COOKIE, cookie);
    answer.headers_mut().append(header::SET_COOKIE, portal.completed_round(&headers));
    Ok(answer)
}

impl Portal {
    /// The sign-in page on the public host, which leads to `return_to` on the host of `origin`.
    fn public_sign_in(&self, origin: &Origin, return_to: &str, step_up: bool) -> String {
        let target = if return_to.starts_with('/') { origin.join(return_to) } else { return_to.to_owned() };
        let step_up = step_up.then_some(("step_up", "1"));
        let query: Vec<_> = step_up.into_iter().chain([("return_to", target.as_str())]).collect();
        with_query(&self.public_url.join("/.linkgate/sign-in"), &query)
    }
}

fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}
