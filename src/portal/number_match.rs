//! Choosing a number where the link was opened, and letting in the browser that waits for it.
//!
//! The other device never gets a session: it only says which number it was shown where sign-in began. The waiting
//! browser finishes by its own request, with its own cookie.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use super::answer::{Failure, Refusal, see_other};
use super::sign_in::{OtherDevices, read_form};
use super::{Portal, Visit, query_value, visit};
use crate::pages::{ChooseNumber, LinkExpired, LinkUsed, NumberChosen, NumberStopped, SignInStopped};
use crate::secret;
use crate::session::attempt::{Attempt, Browser};
use crate::session::number_match::{Asked, Chosen, Opened, Progress};
use crate::store;

/// What the other device is led to after the right number.
pub(super) const CHOSEN: &str = "/.linkgate/sign-in/number?chosen=1";
/// The same after a wrong one.
pub(super) const STOPPED: &str = "/.linkgate/sign-in/number";

/// The fields of the form, each at most once.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    csrf: String,
    opened: String,
    number: String,
}

/// `POST /.linkgate/sign-in/number`
pub(super) async fn choose(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    if !portal.matches_numbers() {
        return Err(Refusal::NotFound.into());
    }
    let form: Form = read_form(&headers, &body)?;
    if !visit::is_same_origin(&headers, &visit.origin) {
        return Err(Refusal::StaleForm.into());
    }
    let Some(browser) = Browser::find(portal.jar, &headers) else { return Err(Refusal::StaleForm.into()) };
    if !secret::same(browser.csrf_token().as_bytes(), form.csrf.as_bytes()) {
        return Err(Refusal::StaleForm.into());
    }
    let opened = Opened::unseal(&form.opened, &browser).ok_or(Refusal::StaleForm)?;
    let number = form.number.parse().map_err(|_| Refusal::BadRequest)?;
    let request_id = &visit.request_id;
    let (csrf, return_to) = (browser.csrf_token(), "/".to_owned());
    Ok(match portal.attempts.choose(&opened, number).await? {
        Chosen::Right => {
            portal.metrics.sign_in("number_right");
            tracing::info!(request.id = request_id, "another device chose the right number");
            see_other(CHOSEN)
        }
        Chosen::Wrong => {
            portal.metrics.sign_in("number_wrong");
            tracing::info!(request.id = request_id, "another device chose a wrong number, which ended the sign-in");
            see_other(STOPPED)
        }
        Chosen::NotShown => return Err(Refusal::BadRequest.into()),
        Chosen::Decided => {
            tracing::info!(request.id = request_id, "did not take a number: the sign-in was decided before");
            let page = LinkUsed { address: None, csrf, return_to };
            portal.refuser(&visit).answer_with(&page, Refusal::LinkUsed, &headers)
        }
        Chosen::Expired => {
            tracing::info!(request.id = request_id, "did not take a number: the link works no more");
            let link_lifetime = portal.sign_in.link_lifetime;
            let page = LinkExpired { link_lifetime, address: None, csrf, return_to };
            portal.refuser(&visit).answer_with(&page, Refusal::LinkExpired, &headers)
        }
    })
}

/// `GET /.linkgate/sign-in/number`: what choosing came to. Says it of nobody, so that anybody may look.
pub(super) async fn done(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    if !portal.matches_numbers() {
        return Err(Refusal::NotFound.into());
    }
    let refuser = portal.refuser(&visit);
    let is_right = query_value(query.as_deref(), "chosen") == "1";
    Ok(if is_right { refuser.show(&NumberChosen {}) } else { refuser.show(&NumberStopped {}) })
}

#[derive(Serialize)]
struct Shown {
    state: &'static str,
}

/// `GET /.linkgate/sign-in/progress`: whether the waiting page has anything to go on with.
pub(super) async fn progress(State(portal): State<Arc<Portal>>, headers: HeaderMap) -> Result<Response, Failure> {
    let progress = match Browser::find(portal.jar, &headers) {
        Some(browser) => portal.progress(&browser).await?,
        None => Progress::Waiting,
    };
    let state = match progress {
        Progress::Waiting => "waiting",
        Progress::Chosen { .. } => "chosen",
        Progress::Stopped(_) => "stopped",
    };
    Ok(Json(Shown { state }).into_response())
}

impl Portal {
    /// Whether a link may be opened on another device, to choose a number there.
    pub(super) fn matches_numbers(&self) -> bool {
        self.sign_in.other_devices == OtherDevices::MatchNumber
    }

    /// How far the browser's attempts are; none is anywhere where no numbers are chosen.
    pub(super) async fn progress(&self, browser: &Browser) -> Result<Progress, store::Error> {
        if self.matches_numbers() { self.attempts.progress(browser).await } else { Ok(Progress::Waiting) }
    }

    /// The page where the other device chooses.
    pub(super) fn numbers_page(
        &self,
        visit: &Visit,
        known: Option<&Browser>,
        opened: &Opened,
        asked: &Asked,
    ) -> Response {
        let browser = known.cloned().unwrap_or_default();
        let mut answer = self.refuser(visit).show(&ChooseNumber {
            csrf: browser.csrf_token(),
            opened: opened.seal(&browser),
            asked_at: asked.at,
            browser: asked.agent.browser.clone(),
            system: asked.agent.system.clone(),
            client: asked.address.to_string(),
            numbers: asked.numbers.shown,
        });
        if known.is_none() {
            answer.headers_mut().append(header::SET_COOKIE, browser.cookie(self.jar));
        }
        answer
    }

    /// The waiting page's end after a wrong number.
    pub(super) fn stopped_page(&self, browser: &Browser, attempt: &Attempt) -> SignInStopped {
        SignInStopped {
            csrf: browser.csrf_token(),
            address: attempt.identifier.to_string(),
            organization: attempt.organization.clone().unwrap_or_default(),
            step_up: attempt.step_up,
            resend_at: attempt.resend_at,
            return_to: attempt.return_to.clone(),
        }
    }
}
