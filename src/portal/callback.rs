//! The link comes back: a code is redeemed once, for the browser that asked, and becomes a session.
//!
//! Everything that can be refused is refused before Mosaic is asked, so that a scanner, another browser or a
//! guessed state spends nothing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method};

use super::admission::Entry;
use super::answer::{Failure, Refusal, see_other};
use super::{Portal, Visit, number_match, text, visit};
use crate::agent::Agent;
use crate::identity::{Identifier, IdentifierKind};
use crate::mosaic::{Device, Error as MosaicError, Login};
use crate::pages::{LinkExpired, LinkUsed, NewerEmail, OtherBrowser, View};
use crate::secret::Secret;
use crate::session::attempt::{Attempt, AttemptKey, Browser, Standing, Way, is_token};
use crate::session::number_match::{Choice, Opened};
use crate::session::{Chain, Live};
use crate::store;

/// What the callback's query says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// A code for an attempt.
    Code { code: String, state: String },
    /// Mosaic's word that the link did not work.
    Refused { state: String },
    /// Something that Mosaic does not send.
    Malformed,
}

impl Answer {
    /// Each of `code`, `state` and `error` at most once and of sane form; what else there is does not matter.
    fn parse(query: &str) -> Self {
        let (mut code, mut state, mut error) = (None, None, false);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "code" => &mut code,
                "state" => &mut state,
                "error" => {
                    error = true;
                    continue;
                }
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Self::Malformed;
            }
        }
        let plain =
            |code: &String| (1..=1024).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic());
        match (code.filter(plain), state.filter(|state| is_token(state)), error) {
            (Some(code), Some(state), false) => Self::Code { code, state },
            (None, Some(state), true) => Self::Refused { state },
            _ => Self::Malformed,
        }
    }
}

/// `GET /.linkgate/callback?code=…&state=…`
pub(super) async fn redeem(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if method != Method::GET {
        return Err(Refusal::Status(405).into());
    }
    let browser = Browser::find(portal.jar, &headers);
    let present = portal.sessions.find(&headers, visit.place()).await?.live();
    let caller = Caller { portal: &portal, visit: &visit, browser: browser.as_ref(), headers: &headers };
    let (code, state) = match Answer::parse(query.as_deref().unwrap_or_default()) {
        Answer::Code { code, state } => (code, state),
        Answer::Refused { state } => return caller.expired(&state).await,
        Answer::Malformed => return Err(Refusal::BadRequest.into()),
    };
    if !visit::is_deliberate(&headers) {
        tracing::info!(request.id = visit.request_id, "a link was opened by a program that looks ahead");
        return Ok(caller.other_browser());
    }
    match portal.attempts.standing(&state, browser.as_ref()).await? {
        Standing::Expired(attempt) if present.is_some() => Ok(see_other(&attempt.return_to)),
        Standing::Unknown | Standing::Expired(_) => match present {
            Some(_) => Ok(see_other("/")),
            None => caller.expired(&state).await,
        },
        Standing::OtherBrowser => match (present, portal.attempts.landing(&state).await?) {
            (Some(_), Some(landing)) => Ok(see_other(&landing)),
            (None, Some(_)) => Ok(caller.used_by_someone()),
            // By the code that was typed in its place.
            (Some(_), None) if portal.attempts.is_claimed(&AttemptKey::of(&state)).await? => Ok(see_other("/")),
            (_, None) => caller.elsewhere(code, state).await,
        },
        Standing::Used(attempt) => Ok(caller.used(&attempt, present.is_some())),
        Standing::Open(attempt) => caller.redeem_open(&code, &state, attempt, present).await,
    }
}

/// Redeems what was opened on another device, for the browser that asked, once its number was chosen there.
pub(super) async fn redeem_chosen(
    portal: &Arc<Portal>,
    visit: &Visit,
    headers: &HeaderMap,
    browser: &Browser,
    opened: &Opened,
    attempt: Attempt,
    present: Option<Arc<Live>>,
) -> Result<Response, Failure> {
    let caller = Caller { portal, visit, browser: Some(browser), headers };
    caller.redeem_open(&opened.code, &opened.state, attempt, present).await
}

/// One callback in progress.
struct Caller<'a> {
    portal: &'a Arc<Portal>,
    visit: &'a Visit,
    browser: Option<&'a Browser>,
    headers: &'a HeaderMap,
}

impl Caller<'_> {
    async fn redeem_open(
        &self,
        code: &str,
        state: &str,
        attempt: Attempt,
        present: Option<Arc<Live>>,
    ) -> Result<Response, Failure> {
        if !attempt.step_up && present.as_ref().is_some_and(|live| is_who_asked(live, &attempt)) {
            return Ok(see_other(&attempt.return_to));
        }
        if let Some(sent_at) = attempt.superseded_at {
            return Ok(self.newer(&attempt, sent_at));
        }
        let user_agent = text(self.headers, "user-agent");
        if Agent::parse(user_agent) != attempt.agent {
            self.note("the browser is of another family than the one that asked");
            return Ok(self.other_browser());
        }
        let (portal, key) = (self.portal, AttemptKey::of(state));
        // An attempt is open for the browser that opens its record only.
        let Some(browser) = self.browser else { return Ok(self.other_browser()) };
        let sending = portal.attempts.noted(browser, &key, Way::Link).await?.unwrap_or_default();
        let added_to = portal.further_proof_for(present.as_deref(), &attempt).await?;
        if !portal.attempts.claim(&key, &attempt).await? {
            return Ok(self.used(&attempt, present.is_some()));
        }
        let device_id = portal.device_id(self.headers);
        let login = Login {
            device: Device { user_agent, address: Some(self.visit.client), id: device_id.as_deref(), language: None },
            organization: attempt.organization.as_deref(),
            session_id: added_to.as_ref().map(|session| session.expose().as_str()),
            request_id: sending.request_id.as_deref(),
        };
        match portal.mosaic.authenticate_magic_link(code, &login).await {
            Ok(signed_in) => {
                let (visit, attempt, sending) = (self.visit, &attempt, &sending);
                let (way, state, present, added_to) = (Way::Link, Some(state), present.clone(), added_to.as_ref());
                let headers = self.headers;
                let entry = Entry { visit, browser, headers, attempt, way, sending, present, added_to, state };
                portal.admit(entry, signed_in).await
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(request.id = self.visit.request_id, error = %Chain(&error), "failed to redeem a link");
                portal.attempts.give_back(&key).await?;
                Err(Refusal::SignInUnavailable.into())
            }
            Err(error) if error.is_about_our_client() => {
                tracing::error!(request.id = self.visit.request_id, error = %Chain(&error), "failed to redeem a link");
                portal.attempts.give_back(&key).await?;
                Err(Refusal::SignInFailed.into())
            }
            Err(MosaicError::SessionNotFound) if login.session_id.is_some() => {
                self.note("the session that was to get a further proof is over at Mosaic");
                portal.end_lost(present.as_deref()).await?;
                self.expired(state).await
            }
            Err(MosaicError::InvalidCode | MosaicError::SessionNotFound) => {
                self.note("Mosaic does not know the code");
                self.expired(state).await
            }
            Err(error) if error.is_about_the_user() => {
                tracing::info!(request.id = self.visit.request_id, reason = %error, "refused a sign-in");
                Err(Refusal::NoAccess.into())
            }
            Err(error) => {
                tracing::error!(request.id = self.visit.request_id, error = %Chain(&error), "failed to redeem a link");
                Err(Refusal::SignInFailed.into())
            }
        }
    }

    fn note(&self, reason: &str) {
        self.portal.metrics.sign_in("refused");
        tracing::info!(request.id = self.visit.request_id, reason, "did not redeem a link");
    }

    fn refuse<V: View>(&self, page: &V, refusal: Refusal) -> Response {
        self.portal.refuser(self.visit).answer_with(page, refusal, self.headers)
    }

    fn csrf(&self) -> String {
        self.browser.map(Browser::csrf_token).unwrap_or_default()
    }

    fn other_browser(&self) -> Response {
        self.note("another browser than the one that asked");
        self.refuse(&OtherBrowser { codes: self.portal.sign_in.codes }, Refusal::OtherBrowser)
    }

    /// Another device may choose a number, where that is on; looking at the page spends nothing.
    async fn elsewhere(&self, code: String, state: String) -> Result<Response, Failure> {
        let attempts = &self.portal.attempts;
        if !self.portal.matches_numbers() || !visit::wants_page(self.headers) {
            return Ok(self.other_browser());
        }
        match attempts.choice(&state).await? {
            Some(Choice::Right { .. }) => return Ok(see_other(number_match::CHOSEN)),
            Some(Choice::Wrong) => return Ok(see_other(number_match::STOPPED)),
            Some(Choice::Replaced { at: sent_at }) => {
                let page = NewerEmail { sent_at, address: None, csrf: self.csrf(), return_to: "/".to_owned() };
                return Ok(self.refuse(&page, Refusal::LinkReplaced));
            }
            None if attempts.is_claimed(&AttemptKey::of(&state)).await? => return Ok(self.used_by_someone()),
            None => {}
        }
        Ok(match attempts.asked(&state).await? {
            Some(asked) => {
                let request_id = &self.visit.request_id;
                tracing::info!(request.id = request_id, "a link was opened on another device, which is shown numbers");
                self.portal.numbers_page(self.visit, self.browser, &Opened { code, state }, &asked)
            }
            None => self.other_browser(),
        })
    }

    /// Signed in: goes on silently. Otherwise says that the link was used.
    fn used(&self, attempt: &Attempt, signed_in: bool) -> Response {
        if signed_in {
            return see_other(&attempt.return_to);
        }
        self.used_page(Some(attempt.identifier.to_string()), attempt.return_to.clone())
    }

    /// The link was used, and whoever follows it now may be anybody.
    fn used_by_someone(&self) -> Response {
        self.used_page(None, "/".to_owned())
    }

    fn used_page(&self, address: Option<String>, return_to: String) -> Response {
        self.note("the link was used before");
        self.refuse(&LinkUsed { address, csrf: self.csrf(), return_to }, Refusal::LinkUsed)
    }

    fn newer(&self, attempt: &Attempt, sent_at: crate::clock::Timestamp) -> Response {
        let page = NewerEmail {
            sent_at,
            address: Some(attempt.identifier.to_string()),
            csrf: self.csrf(),
            return_to: attempt.return_to.clone(),
        };
        self.refuse(&page, Refusal::LinkReplaced)
    }

    /// The link came too late, or Mosaic says so; where this browser asked, it can ask again at once.
    async fn expired(&self, state: &str) -> Result<Response, Failure> {
        let standing = match self.browser {
            Some(browser) => self.portal.attempts.standing(state, Some(browser)).await?,
            None => Standing::Unknown,
        };
        let attempt = match standing {
            Standing::Open(attempt) | Standing::Used(attempt) | Standing::Expired(attempt) => Some(attempt),
            Standing::OtherBrowser | Standing::Unknown => None,
        };
        let page = LinkExpired {
            link_lifetime: self.portal.sign_in.link_lifetime,
            address: attempt.as_ref().map(|attempt| attempt.identifier.to_string()),
            csrf: self.csrf(),
            return_to: attempt.map_or_else(|| "/".to_owned(), |attempt| attempt.return_to),
        };
        Ok(self.refuse(&page, Refusal::LinkExpired))
    }
}

/// Whether the one who is signed in is the one who asked.
pub(super) fn is_who_asked(live: &Live, attempt: &Attempt) -> bool {
    let identity = live.identity();
    match &attempt.identifier {
        Identifier::Email(address) => identity.email.as_ref() == Some(address),
        Identifier::Other { kind, value } => match kind {
            IdentifierKind::UserId => identity.subject.as_str() == value,
            IdentifierKind::Username => identity.username.as_ref() == Some(value),
            IdentifierKind::PhoneNumber => identity.phone_number.as_ref() == Some(value),
            IdentifierKind::Email | IdentifierKind::Custom(_) => false,
        },
    }
}

impl Portal {
    /// The session at Mosaic that a step-up adds its proof to.
    pub(super) async fn further_proof_for(
        &self,
        present: Option<&Live>,
        attempt: &Attempt,
    ) -> Result<Option<Secret<String>>, store::Error> {
        match present.filter(|live| attempt.step_up && is_who_asked(live, attempt)) {
            Some(live) => self.sessions.at_mosaic(live).await,
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn one_code_and_one_state_of_sane_form_are_an_answer() {
        let state = || STATE.to_owned();
        let check = |query: &str, expected: Answer| assert_eq!(Answer::parse(query), expected, "{query:.80}");
        check(&format!("code=abc&state={STATE}"), Answer::Code { code: "abc".to_owned(), state: state() });
        check(&format!("state={STATE}&x=1&code=a.b"), Answer::Code { code: "a.b".to_owned(), state: state() });
        check(&format!("error=expired&state={STATE}"), Answer::Refused { state: state() });
        for malformed in [
            String::new(),
            "code=abc".to_owned(),
            format!("state={STATE}"),
            format!("code=&state={STATE}"),
            format!("code=a&code=b&state={STATE}"),
            format!("code=a&state={STATE}&state={STATE}"),
            format!("code[]=a&state={STATE}"),
            format!("code=a&error=x&state={STATE}"),
            format!("code=a%00b&state={STATE}"),
            format!("code=a%20b&state={STATE}"),
            format!("code={}&state={STATE}", "a".repeat(10_000)),
            "code=a&state=short".to_owned(),
            format!("code=a&state={STATE}A"),
        ] {
            check(&malformed, Answer::Malformed);
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".{0,80}") {
            drop(Answer::parse(&query));
        }
    }
}
