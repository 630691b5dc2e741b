//! Signing a terminal in: what `linkgate login` asks, and the page where its user lets it.
//!
//! The code is always typed, and what is asked for is always confirmed: a link that brings the code along would let
//! whoever sends it have a token in another's name (RFC 8628 section 5.4).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer::{Failure, Refusal, see_other};
use super::return_to::DEVICE;
use super::sign_in::{check_form, read_form};
use super::{Portal, Visit, text};
use crate::pages::{Device, DeviceRequest, DeviceStage};
use crate::personal_token::device::{Asked, INTERVAL, LIFETIME, Poll, Waiting};
use crate::personal_token::{MOST_NAME, Made, NotMade, Wanted};
use crate::session::Live;
use crate::setting::Span;

/// Where a terminal begins.
pub(super) const CODE: &str = "/.linkgate/device/code";
/// Where it asks what became of it.
pub(super) const TOKEN: &str = "/.linkgate/device/token";
const SIGN_IN: &str = "/.linkgate/sign-in?return_to=%2F.linkgate%2Fdevice";
const STEP_UP: &str = "/.linkgate/sign-in?step_up=1&return_to=%2F.linkgate%2Fdevice";
/// How long a token is good for where the terminal does not say.
const USUAL: Span = Span::days(30);
/// Bytes of what a terminal calls itself that are shown.
const MOST_AGENT: usize = 80;

/// What a terminal asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    name: String,
    #[serde(default)]
    routes: Vec<String>,
    minutes: Option<u64>,
}

/// What a terminal shows when it asks what became of it.
#[derive(Deserialize)]
pub(super) struct Ask {
    device_code: String,
}

/// The fields of the page's forms.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    csrf: String,
    code: String,
    decision: String,
}

/// Any of the terminal's calls on another host than the public one, method and body included.
pub(super) async fn elsewhere(State(portal): State<Arc<Portal>>, request: axum::extract::Request) -> Response {
    Redirect::temporary(&portal.public_url.join(request.uri().path())).into_response()
}

/// What a terminal says. A form, which another site's page could send, is none.
fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    if check_form(headers, body).is_ok() { Err(Refusal::Status(415)) } else { read_form(headers, body) }
}

fn failed(error: &str, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error, "message": message }))).into_response()
}

/// `POST /.linkgate/device/code`
pub(super) async fn begin(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    portal.are_tokens_on()?;
    let begin: Begin = read_json(&headers, &body)?;
    if let Some(until) = portal.throttle.admit_terminal(visit.client).await? {
        return Err(Refusal::TooManyRequests { until }.into());
    }
    let most = portal.personal_tokens.config().lifetime;
    let minutes = begin.minutes.unwrap_or_else(|| USUAL.min(most).0.as_secs() / 60);
    if minutes == 0 || minutes > most.0.as_secs() / 60 {
        return Ok(failed(
            "invalid_request",
            &format!("a token may be good for {} minutes at most", most.0.as_secs() / 60),
        ));
    }
    let name = begin.name.trim();
    let is_plain = |text: &str| !text.chars().any(char::is_control) && text.chars().count() <= 2 * MOST_NAME;
    if name.is_empty() || name.chars().count() > MOST_NAME || !is_plain(name) {
        return Ok(failed("invalid_request", "a token has a name of up to 60 characters"));
    }
    if begin.routes.len() > 20 || !begin.routes.iter().all(|route| is_plain(route)) {
        return Ok(failed("invalid_request", "these are no names of routes"));
    }
    let agent = text(&headers, "user-agent").unwrap_or_default().chars().take(MOST_AGENT).collect();
    let asked = Asked { name: name.to_owned(), routes: begin.routes, minutes, client: visit.client.to_string(), agent };
    let codes = portal.devices.begin(asked).await?;
    Ok(Json(json!({
        "device_code": codes.device.expose(),
        "user_code": codes.user,
        "verification_uri": portal.public_url.join(DEVICE),
        "expires_in": LIFETIME.as_secs(),
        "interval": INTERVAL.as_secs(),
    }))
    .into_response())
}

/// `POST /.linkgate/device/token`
pub(super) async fn token(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    portal.are_tokens_on()?;
    let ask: Ask = read_json(&headers, &body)?;
    let (asked, identity, signed_in_at) = match portal.devices.poll(&ask.device_code).await? {
        Poll::Pending => return Ok(failed("authorization_pending", "the code was not typed yet")),
        Poll::TooSoon => return Ok(failed("slow_down", "ask less often")),
        Poll::Denied => return Ok(failed("access_denied", "the request was turned down")),
        Poll::Gone => return Ok(failed("expired_token", "the code is good no more")),
        Poll::Granted { asked, identity, signed_in_at } => (asked, identity, signed_in_at),
    };
    let lifetime = Span::minutes(asked.minutes).0;
    let (identity, name, routes) = (&*identity, &*asked.name, asked.routes);
    match portal.personal_tokens.make(Wanted { identity, signed_in_at, name, routes, lifetime }).await {
        Ok(Made { text, token }) => {
            let (subject, id) = (&token.subject, token.key.id());
            tracing::info!(request.id = visit.request_id, %subject, token = id, "a terminal was signed in");
            let expires_at = token.expires_at.to_string();
            Ok(Json(json!({ "access_token": text.expose(), "token_type": "Bearer", "expires_at": expires_at }))
                .into_response())
        }
        Err(NotMade::Store(error)) => Err(error.into()),
        Err(NotMade::TooMany) => Ok(failed("too_many_tokens", "there are as many tokens as may be: revoke one first")),
        Err(NotMade::Name | NotMade::Bounds) => Ok(failed("invalid_request", "such a token may not be made any more")),
    }
}

/// `GET /.linkgate/device`
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    portal.are_tokens_on()?;
    match portal.sessions.find(&headers, visit.place()).await?.live() {
        Some(live) => Ok(portal.device(&visit, &live, DeviceStage::Enter)),
        None => Ok(see_other(SIGN_IN)),
    }
}

/// `POST /.linkgate/device`: the code, and then what its user says to it.
pub(super) async fn decide(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    portal.are_tokens_on()?;
    let form: Form = read_form(&headers, &body)?;
    let Some(live) = portal.sender(&visit, &headers, &form.csrf).await? else { return Ok(see_other(SIGN_IN)) };
    if !portal.may_make_tokens(&live) {
        return Ok(see_other(STEP_UP));
    }
    if let Some(until) = portal.throttle.try_terminal(&live.subject()).await? {
        return Err(Refusal::TooManyRequests { until }.into());
    }
    let Some(waiting) = portal.devices.find(&form.code).await? else {
        return Ok(wrong(portal.device(&visit, &live, DeviceStage::Wrong)));
    };
    portal.decide_about(&visit, &live, waiting, &form).await
}

fn wrong(mut page: Response) -> Response {
    *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    page
}

impl Portal {
    async fn decide_about(
        &self,
        visit: &Visit,
        live: &Live,
        waiting: Waiting,
        form: &Form,
    ) -> Result<Response, Failure> {
        let are_known = waiting.asked.routes.iter().all(|route| self.token_routes.contains(route));
        let (is_done, stage) = match form.decision.as_str() {
            "allow" if are_known => {
                let granted = self.devices.grant(waiting, live.identity().clone(), live.signed_in_at()).await?;
                (granted, DeviceStage::Allowed)
            }
            "deny" => (self.devices.deny(waiting).await?, DeviceStage::Denied),
            _ => (true, DeviceStage::Confirm(shown(waiting.asked, form.code.clone(), are_known))),
        };
        let stage = if is_done { stage } else { DeviceStage::Wrong };
        Ok(self.device(visit, live, stage))
    }

    fn device(&self, visit: &Visit, live: &Live, stage: DeviceStage) -> Response {
        let address = live.identity().shown_name();
        self.refuser(visit).show(&Device { csrf: live.csrf_token(), address, stage })
    }
}

fn shown(asked: Asked, code: String, are_routes_known: bool) -> DeviceRequest {
    let Asked { name, routes, minutes, client, agent } = asked;
    DeviceRequest { code, name, routes, minutes, client, agent, are_routes_known }
}
