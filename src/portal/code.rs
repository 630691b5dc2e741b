//! The typed one-time code: the second way to finish a sign-in, on the page that waits.
//!
//! Whatever is typed and for whomever, the same number of tries is answered in the same way: only the right code
//! tells anything. It works in the browser that asked and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;

use super::admission::Entry;
use super::answer::{Failure, Refusal, see_other};
use super::callback::is_who_asked;
use super::sending::{Message, Order};
use super::sign_in::{SENT, read_form};
use super::throttle::Mailbox;
use super::{Portal, Visit, text, visit};
use crate::mosaic::{Device, Error as MosaicError, Login, Step};
use crate::pages::CodeExpired;
use crate::secret;
use crate::session::attempt::{Attempt, AttemptKey, Browser, Way};
use crate::session::{Chain, Live};

/// The fields of the forms: one has the code that was typed, the other asks for a code to be sent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    csrf: String,
    code: String,
    send: String,
}

/// `POST /.linkgate/sign-in/code`
pub(super) async fn enter(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    if !portal.sign_in.codes {
        return Err(Refusal::NotFound.into());
    }
    let form: Form = read_form(&headers, &body)?;
    if !visit::is_same_origin(&headers, &visit.origin) {
        return Err(Refusal::StaleForm.into());
    }
    let Some(browser) = Browser::find(portal.jar, &headers) else {
        return Ok(portal.cookies_blocked(&visit, &headers, "/", false));
    };
    if !secret::same(browser.csrf_token().as_bytes(), form.csrf.as_bytes()) {
        return Err(Refusal::StaleForm.into());
    }
    let present = portal.sessions.find(&headers, visit.place()).await?.live();
    let Some((key, attempt)) = portal.attempts.latest(&browser).await? else {
        return Ok(see_other("/.linkgate/sign-in"));
    };
    let caller = Caller { portal: &portal, visit: &visit, browser: &browser, headers: &headers, key, attempt };
    if form.send.is_empty() { caller.redeem(&form.code, present).await } else { caller.ask().await }
}

/// Somebody on the waiting page.
struct Caller<'a> {
    portal: &'a Arc<Portal>,
    visit: &'a Visit,
    browser: &'a Browser,
    headers: &'a HeaderMap,
    key: AttemptKey,
    attempt: Attempt,
}

impl Caller<'_> {
    /// Has a code sent beside the link, as far as the budgets go. The answer is the same for everybody.
    async fn ask(self) -> Result<Response, Failure> {
        let portal = self.portal;
        if !self.attempt.is_open(portal.clock.now()) || portal.attempts.is_claimed(&self.key).await? {
            return Ok(see_other("/.linkgate/sign-in"));
        }
        if let Some(until) = portal.throttle.admit(self.visit.client).await? {
            tracing::info!(request.id = self.visit.request_id, "refused a request for a code: too many");
            return Err(Refusal::TooManyRequests { until }.into());
        }
        if !portal.can_send(Step::SendCode).await {
            return Err(Refusal::SignInUnavailable.into());
        }
        let mailbox = portal.throttle.code(&self.attempt.identifier).await?;
        let attempt = Attempt { code_asked_at: Some(portal.clock.now()), ..self.attempt };
        portal.attempts.rewrite(self.browser, &self.key, &attempt).await?;
        let may_be_sent = portal.may_be_sent_to(&attempt.identifier);
        if may_be_sent && matches!(mailbox, Mailbox::Free { .. }) {
            portal.dispatch(Order {
                visit: self.visit.clone(),
                browser: self.browser.clone(),
                key: self.key,
                attempt,
                user_agent: text(self.headers, "user-agent").map(str::to_owned),
                device_id: portal.device_id(self.headers),
                message: Message::Code,
            });
        } else {
            portal.metrics.sign_in("not_sent");
            tracing::info!(
                request.id = self.visit.request_id,
                "a code was asked for and not sent: not allowed, or too many"
            );
        }
        Ok(see_other(SENT))
    }

    async fn redeem(self, typed: &str, present: Option<Arc<Live>>) -> Result<Response, Failure> {
        let portal = self.portal;
        if !self.attempt.step_up && present.as_ref().is_some_and(|live| is_who_asked(live, &self.attempt)) {
            return Ok(see_other(&self.attempt.return_to));
        }
        if !self.attempt.is_open(portal.clock.now()) {
            return Ok(self.expired());
        }
        if portal.attempts.is_claimed(&self.key).await? {
            return Ok(see_other("/.linkgate/sign-in"));
        }
        // Before anything is compared: tries that come together are all counted.
        if let Some(until) = portal.throttle.try_code(self.visit.client, &self.attempt.identifier).await? {
            return Ok(self.locked(until));
        }
        let Some(code) = read(typed) else {
            self.note("what was typed is no code");
            return Ok(self.wrong());
        };
        // Mosaic knows one code for a user: another attempt's is not good for this one.
        if !portal.attempts.owns_code(&self.attempt.identifier, &self.key).await? {
            self.note("the newest code is another attempt's");
            return Ok(self.wrong());
        }
        if !portal.mosaic.is_reachable(Step::RedeemCode) {
            return Err(Refusal::SignInUnavailable.into());
        }
        let way = if portal.options.code_comes_with_link { Way::Link } else { Way::Code };
        let sending = portal.attempts.noted(self.browser, &self.key, way).await?.unwrap_or_default();
        let device_id = portal.device_id(self.headers);
        let user_agent = text(self.headers, "user-agent");
        let added_to = portal.further_proof_for(present.as_deref(), &self.attempt).await?;
        let login = Login {
            device: Device { user_agent, address: Some(self.visit.client), id: device_id.as_deref(), language: None },
            organization: self.attempt.organization.as_deref(),
            session_id: added_to.as_ref().map(|session| session.expose().as_str()),
            request_id: sending.request_id.as_deref(),
        };
        let signed_in = match portal.mosaic.authenticate_code(&self.attempt.identifier, &code, &login).await {
            Ok(signed_in) => signed_in,
            Err(MosaicError::SessionNotFound) if login.session_id.is_some() => {
                self.note("the session that was to get a further proof is over at Mosaic");
                portal.end_lost(present.as_deref()).await?;
                return Ok(self.expired());
            }
            Err(error) => return self.refuse(&error),
        };
        if !portal.attempts.claim(&self.key, &self.attempt).await? {
            // The link was followed at the same moment, and that sign-in counts.
            portal.end_at_mosaic(&signed_in);
            return Ok(see_other(&self.attempt.return_to));
        }
        let (visit, browser, attempt) = (self.visit, self.browser, &self.attempt);
        let entry = Entry {
            visit,
            browser,
            headers: self.headers,
            attempt,
            way: Way::Code,
            sending: &sending,
            present,
            added_to: added_to.as_ref(),
            state: None,
        };
        portal.admit(entry, signed_in).await
    }

    fn refuse(&self, error: &MosaicError) -> Result<Response, Failure> {
        let request_id = &self.visit.request_id;
        match error {
            MosaicError::CodeExpired => {
                self.note("the code has expired");
                Ok(self.expired())
            }
            MosaicError::Locked => {
                self.note("Mosaic takes no codes for a while");
                Ok(self.locked(self.portal.clock.now().plus(LOCKED)))
            }
            // That there is no such user, or none who may sign in, is nobody's to know.
            error if matches!(error, MosaicError::WrongCode) || error.is_about_the_user() => {
                self.note(&error.to_string());
                Ok(self.wrong())
            }
            error if error.is_transient() => {
                tracing::warn!(request.id = request_id, error = %Chain(error), "failed to redeem a code");
                Err(Refusal::SignInUnavailable.into())
            }
            error => {
                tracing::error!(request.id = request_id, error = %Chain(error), "failed to redeem a code");
                Err(Refusal::SignInFailed.into())
            }
        }
    }

    fn note(&self, reason: &str) {
        self.portal.metrics.sign_in("refused");
        tracing::info!(request.id = self.visit.request_id, reason, "did not redeem a code");
    }

    fn wrong(&self) -> Response {
        let page = self.portal.waiting_page(self.browser, &self.attempt, true);
        self.portal.refuser(self.visit).answer_with(&page, Refusal::WrongCode, self.headers)
    }

    fn locked(&self, until: crate::clock::Timestamp) -> Response {
        self.portal.refuser(self.visit).answer(Refusal::CodeLocked { until }, self.headers)
    }

    fn expired(&self) -> Response {
        let page = CodeExpired {
            lifetime: self.portal.sign_in.link_lifetime,
            address: Some(self.attempt.identifier.to_string()),
            csrf: self.browser.csrf_token(),
            return_to: self.attempt.return_to.clone(),
        };
        self.portal.refuser(self.visit).answer_with(&page, Refusal::CodeExpired, self.headers)
    }
}

/// How long Mosaic takes no codes after too many wrong ones, where nobody set it otherwise.
const LOCKED: Duration = Duration::from_secs(15 * 60);

/// Four to eight digits (Mosaic's `codeLength`); blanks and hyphens are how people write them.
fn read(typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(|character| !character.is_whitespace() && *character != '-').collect();
    ((4..=8).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        for (typed, expected) in [
            ("123456", Some("123456")),
            (" 123 456\n", Some("123456")),
            ("12-34", Some("1234")),
            ("12345678", Some("12345678")),
            ("123", None),
            ("123456789", None),
            ("12345a", None),
            ("１２３４５６", None),
            ("", None),
        ] {
            assert_eq!(read(typed).as_deref(), expected, "{typed:?}");
        }
    }
}
