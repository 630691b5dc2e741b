//! Asking for a magic link: the page, the form, and the page that waits.
//!
//! The answer is the same for every address and is given before Mosaic is asked, so that neither its words nor
//! its time say who exists.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answer::{Failure, Refusal, see_other};
use super::notices::Occasion;
use super::sending::{Message, Order};
use super::throttle::Mailbox;
use super::{Portal, Visit, callback, query_value, text, visit};
use crate::agent::Agent;
use crate::identity::{AddressRule, BadIdentifier, Identifier, IdentifierKind};
use crate::mosaic::Step;
use crate::pages::{
    AddressProblem, AlreadySignedIn, CheckEmail, CodeEntry, EnterAddress, Notice, SignedInElsewhere, Webmail,
};
use crate::secret;
use crate::session::attempt::{Attempt, AttemptKey, Browser};
use crate::session::cookie::Kind;
use crate::session::number_match::Progress;
use crate::session::{Ending, Found, Live};
use crate::setting::{Pattern, Span};

/// `[sign_in]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who may sign in; empty leaves it to the users that Mosaic or the issuer knows.
    pub allow: Vec<AddressRule>,
    /// How long a link works.
    pub link_lifetime: Span,
    /// Links that one mailbox may be sent in an hour.
    pub links_per_mailbox: u32,
    /// The pause between two links to one mailbox.
    pub resend_pause: Span,
    /// Links that one client address may ask for in ten minutes.
    pub links_per_peer: u32,
    /// Links that may be asked for in a minute, by everybody together.
    pub links_in_all: u32,
    /// What visitors are asked for.
    pub identifier: IdentifierKind,
    /// What the page calls that; the catalogue's word where there is none.
    pub label: Option<String>,
    /// What all of it must match, beyond what its kind asks for.
    pub pattern: Option<Pattern>,
    /// Whether a code can be typed in place of following the link.
    pub codes: bool,
    /// Wrong codes that may be typed for one account in a quarter of an hour.
    pub code_tries: u32,
    /// What a link is good for on another device than the one that asked.
    pub other_devices: OtherDevices,
    /// What users are told of by mail.
    pub notices: Vec<Occasion>,
    /// The cookie in which another application of the tenant keeps the name of its session at Mosaic; with it, who is
    /// signed in there is signed in here.
    pub silent_login_cookie: Option<String>,
}

/// `sign_in.other_devices`: what a link is good for on another device than the one that asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherDevices {
    /// For nothing but being told where to open it.
    #[default]
    Refuse,
    /// For letting in the one that asked, by choosing the number that it shows.
    MatchNumber,
}

impl Config {
    /// Reads what a visitor typed to sign in.
    fn read(&self, text: &str) -> Result<Identifier, BadIdentifier> {
        let identifier = self.identifier.read(text)?;
        let is_of_form = self.pattern.as_ref().is_none_or(|pattern| pattern.matches(identifier.value()));
        if is_of_form { Ok(identifier) } else { Err(BadIdentifier::Name) }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            link_lifetime: Span::minutes(10),
            links_per_mailbox: 5,
            resend_pause: Span::seconds(30),
            links_per_peer: 20,
            links_in_all: 600,
            identifier: IdentifierKind::Email,
            label: None,
            pattern: None,
            codes: true,
            code_tries: 5,
            other_devices: OtherDevices::Refuse,
            notices: Vec::new(),
            silent_login_cookie: None,
        }
    }
}

/// `[sign_up]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignUp {
    /// Whose account is made when they first ask for a link; empty for nobody.
    pub allow: Vec<AddressRule>,
}

pub(super) const SENT: &str = "/.linkgate/sign-in/sent";
/// How long a device keeps its name: as long as browsers keep a cookie.
const DEVICE_LIFETIME: Duration = Duration::from_secs(400 * 86_400);
/// The form has a few short fields.
const MOST_FORM_BYTES: usize = 16 * 1024;

/// `GET /.linkgate/sign-in?return_to=/path`
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let return_to = portal.accept(&query_value(query.as_deref(), "return_to"), &visit);
    let organization = query_value(query.as_deref(), "organization");
    let found = portal.sessions.find(&headers, visit.place()).await?;
    let step_up = query_value(query.as_deref(), "step_up") == "1";
    if let Found::Session(live) = &found {
        return Ok(if step_up {
            portal.step_up_page(&visit, &headers, live, &return_to)
        } else {
            portal.refuser(&visit).show(&AlreadySignedIn {
                address: live.identity().shown_name(),
                csrf: live.csrf_token(),
                return_to,
            })
        });
    }
    if let Some(page) = portal.broken_loop(&visit, &headers, &return_to, &found) {
        return Ok(page);
    }
    let chosen = portal.options.organizations.choose(&portal.landing_host(&return_to), &organization);
    if let Some(answer) = portal.sign_in_silently(&visit, &headers, &return_to, chosen.as_deref()).await? {
        return Ok(answer);
    }
    let notice = match found {
        Found::Over(Ending::Idle) => Some(Notice::EndedIdle { idle_timeout: portal.sessions.idle_timeout() }),
        Found::Over(Ending::Ended) => Some(Notice::EndedLifetime),
        Found::Session(_) | Found::None => None,
    };
    let known = Browser::find(portal.jar, &headers);
    let browser = known.clone().unwrap_or_default();
    // Whoever comes back to use another address finds the one that was typed; without the store they type it again.
    let waiting = match &known {
        Some(browser) => portal.attempts.newest(browser).await.unwrap_or_default(),
        None => None,
    };
    let address = waiting.map(|attempt| attempt.identifier.to_string()).unwrap_or_default();
    let page = EnterAddress { address, notice, organization, ..portal.enter_address(&browser, &return_to) };
    let mut answer = portal.refuser(&visit).show(&page);
    if known.is_none() {
        answer.headers_mut().append(header::SET_COOKIE, browser.cookie(portal.jar));
    }
    if notice.is_some() {
        answer.headers_mut().append(header::SET_COOKIE, portal.sessions.clearing_cookie());
    }
    Ok(answer)
}

impl Portal {
    fn enter_address(&self, browser: &Browser, return_to: &str) -> EnterAddress {
        EnterAddress {
            csrf: browser.csrf_token(),
            return_to: return_to.to_owned(),
            going_to: (return_to != "/").then(|| return_to.split(['?', '#']).next().unwrap_or("/").to_owned()),
            kind: self.sign_in.identifier.clone(),
            label: self.sign_in.label.clone(),
            ..EnterAddress::default()
        }
    }

    /// Asks somebody who is signed in to prove it once more.
    fn step_up_page(&self, visit: &Visit, headers: &HeaderMap, live: &Live, return_to: &str) -> Response {
        let known = Browser::find(self.jar, headers);
        let browser = known.clone().unwrap_or_default();
        let identity = live.identity();
        let address = match &self.sign_in.identifier {
            IdentifierKind::Email => identity.email.as_ref().map(ToString::to_string),
            IdentifierKind::PhoneNumber => identity.phone_number.clone(),
            IdentifierKind::UserId => Some(identity.subject.to_string()),
            IdentifierKind::Username => identity.username.clone(),
            IdentifierKind::Custom(_) => None,
        };
        let address = address.unwrap_or_default();
        let page = EnterAddress { address, step_up: true, ..self.enter_address(&browser, return_to) };
        let mut answer = self.refuser(visit).show(&page);
        if known.is_none() {
            answer.headers_mut().append(header::SET_COOKIE, browser.cookie(self.jar));
        }
        answer
    }
}

/// The fields of the form, each at most once.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    /// The address, or whatever name is asked for.
    #[serde(alias = "identifier")]
    email: String,
    csrf: String,
    return_to: String,
    organization: String,
    step_up: String,
    again: String,
}

/// Reads a form, or the same fields in JSON.
pub(super) fn read_form<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    match media_type(headers, body)?.as_str() {
        "application/x-www-form-urlencoded" => serde_urlencoded::from_bytes(body).map_err(|_| Refusal::BadRequest),
        "application/json" => serde_json::from_slice(body).map_err(|_| Refusal::BadRequest),
        _ => Err(Refusal::Status(415)),
    }
}

/// Refuses what is no form, for who reads its fields themselves.
pub(super) fn check_form(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let is_form = media_type(headers, body)? == "application/x-www-form-urlencoded";
    if is_form { Ok(()) } else { Err(Refusal::Status(415)) }
}

/// What a body of no more than the usual length says to be.
fn media_type(headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    if body.len() > MOST_FORM_BYTES {
        return Err(Refusal::Status(413));
    }
    // Media types are compared in any case (RFC 9110 section 8.3.1).
    let kind = text(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
    Ok(kind.split(';').next().unwrap_or_default().trim().to_owned())
}

/// `POST /.linkgate/sign-in`
pub(super) async fn send(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let form: Form = read_form(&headers, &body)?;
    let return_to = portal.accept(&form.return_to, &visit);
    if !visit::is_same_origin(&headers, &visit.origin) {
        return Err(Refusal::StaleForm.into());
    }
    let Some(browser) = Browser::find(portal.jar, &headers) else {
        return Ok(portal.cookies_blocked(&visit, &headers, &return_to, false));
    };
    if !secret::same(browser.csrf_token().as_bytes(), form.csrf.as_bytes()) {
        // Another tab may have been first, so that the form is not this browser's any more: it is shown anew, as it was.
        let page = EnterAddress {
            address: typed(&form.email),
            notice: Some(Notice::FormRenewed),
            organization: form.organization,
            step_up: !form.step_up.is_empty(),
            ..portal.enter_address(&browser, &return_to)
        };
        return Ok(portal.refuser(&visit).answer_with(&page, Refusal::StaleForm, &headers));
    }
    let identifier = match portal.sign_in.read(&form.email) {
        Ok(identifier) => identifier,
        Err(problem) => {
            let empty = problem == BadIdentifier::Empty;
            let page = EnterAddress {
                address: typed(&form.email),
                problem: Some(if empty { AddressProblem::Empty } else { AddressProblem::Incomplete }),
                organization: form.organization,
                step_up: !form.step_up.is_empty(),
                ..portal.enter_address(&browser, &return_to)
            };
            return Ok(portal.refuser(&visit).answer_with(&page, Refusal::NoAddress, &headers));
        }
    };
    if let Some(until) = portal.throttle.admit(visit.client).await? {
        tracing::info!(request.id = visit.request_id, "refused a request for a link: too many");
        return Err(Refusal::TooManyRequests { until }.into());
    }
    if !portal.can_send(Step::SendLink).await {
        return Err(Refusal::SignInUnavailable.into());
    }
    let landing_host = portal.landing_host(&return_to);
    let request = Request {
        identifier,
        return_to,
        organization: portal.options.organizations.choose(&landing_host, &form.organization),
        step_up: !form.step_up.is_empty() && portal.sessions.find(&headers, visit.place()).await?.live().is_some(),
        again: !form.again.is_empty(),
        user_agent: text(&headers, "user-agent").map(|text| text.chars().take(256).collect()),
    };
    let (device_id, device_cookie) = portal.known_or_new_device(&headers);
    portal.begin(&visit, &browser, request, device_id).await?;
    let mut answer = see_other(SENT);
    // However long the page was open: the browser's name must outlive the link.
    answer.headers_mut().append(header::SET_COOKIE, browser.cookie(portal.jar));
    if let Some(cookie) = device_cookie {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// What somebody typed, as far as the field takes it.
fn typed(address: &str) -> String {
    address.chars().take(254).collect()
}

/// Who wants in, and how.
struct Request {
    identifier: Identifier,
    return_to: String,
    organization: Option<String>,
    step_up: bool,
    /// Whether "Send again" was pressed.
    again: bool,
    user_agent: Option<String>,
}

impl Portal {
    /// The lasting name of the browser, and the cookie that makes it keep a new one.
    fn known_or_new_device(&self, headers: &HeaderMap) -> (Option<String>, Option<HeaderValue>) {
        if !self.options.device_ids {
            return (None, None);
        }
        if let Some(known) = self.device_id(headers) {
            return (Some(known), None);
        }
        let name = secret::random_token();
        let cookie = self.jar.set(Kind::Device, name.expose(), DEVICE_LIFETIME);
        (Some(name.expose().clone()), Some(cookie))
    }

    /// Begins an attempt and has its link sent, as far as the mailbox's budget goes.
    async fn begin(
        self: &Arc<Self>,
        visit: &Visit,
        browser: &Browser,
        request: Request,
        device_id: Option<String>,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        self.metrics.sign_in("asked");
        let Request { identifier, return_to, organization, step_up, again, user_agent } = request;
        let mailbox = self.throttle.mail(&identifier).await?;
        let waiting = match self.progress(browser).await? {
            // Its link is dead, so that this is no second press for it.
            Progress::Stopped(_) => None,
            _ => self.attempts.newest(browser).await?.filter(|attempt| attempt.identifier == identifier),
        };
        let attempt = |resend_at, limit_until| Attempt {
            identifier: identifier.clone(),
            return_to,
            agent: Agent::parse(user_agent.as_deref()),
            begun_at: now,
            expires_at: now.plus(self.sign_in.link_lifetime.0),
            resend_at,
            limit_until,
            sent_again: again && waiting.is_some(),
            superseded_at: None,
            organization,
            step_up,
            code_asked_at: None,
            number_match: None,
        };
        let attempt = match (mailbox, &waiting) {
            (Mailbox::Free { next_at }, _) => attempt(next_at, None),
            // A double press, or a page sent again: the mail that went out is the one to use.
            (Mailbox::Pausing { .. }, Some(_)) => return Ok(()),
            (Mailbox::Pausing { until }, None) => attempt(until, None),
            (Mailbox::Exhausted { until }, _) => attempt(until, Some(until)),
        };
        let send = matches!(mailbox, Mailbox::Free { .. });
        if again && send {
            self.attempts.supersede(browser, &identifier).await?;
        }
        let state = self.attempts.begin(browser, &attempt).await?;
        let attempt = match self.sign_in.other_devices {
            OtherDevices::Refuse => attempt,
            OtherDevices::MatchNumber => {
                let agent = Agent::well_known(user_agent.as_deref());
                self.attempts.offer_numbers(browser, state.expose(), attempt, agent, visit.client).await?
            }
        };
        if send && self.may_be_sent_to(&identifier) {
            self.dispatch(Order {
                visit: visit.clone(),
                browser: browser.clone(),
                key: AttemptKey::of(state.expose()),
                attempt,
                user_agent,
                device_id,
                message: Message::Link(state),
            });
        } else {
            self.metrics.sign_in("not_sent");
            tracing::info!(
                request.id = visit.request_id,
                "a link was asked for and not sent: not allowed, or too many"
            );
        }
        Ok(())
    }

    /// The page that waits for the link to be followed, or for the code to be typed.
    pub(super) fn waiting_page(&self, browser: &Browser, attempt: &Attempt, is_wrong: bool) -> CheckEmail {
        let comes_with_link = self.options.code_comes_with_link;
        let code = CodeEntry {
            is_text: attempt.identifier.is_phone_number(),
            is_asked: comes_with_link || attempt.code_asked_at.is_some(),
            comes_with_link,
            is_wrong,
        };
        let address = attempt.identifier.email();
        CheckEmail {
            csrf: browser.csrf_token(),
            webmail: address.and_then(Webmail::of),
            suggestion: address.and_then(crate::pages::suggestion),
            address: attempt.identifier.to_string(),
            code: self.sign_in.codes.then_some(code),
            number: attempt.number_match.as_ref().filter(|_| self.matches_numbers()).map(|shown| shown.number),
            organization: attempt.organization.clone().unwrap_or_default(),
            step_up: attempt.step_up,
            expires_at: attempt.expires_at,
            resend_at: attempt.resend_at,
            sent_again_at: attempt.sent_again.then_some(attempt.begun_at),
            limit_until: attempt.limit_until.filter(|until| *until > self.clock.now()),
            sender: self.options.sender.clone(),
            return_to: attempt.return_to.clone(),
        }
    }
}

/// `GET /.linkgate/sign-in/sent`
pub(super) async fn sent(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Some(browser) = Browser::find(portal.jar, &headers) else {
        return match portal.sessions.find(&headers, visit.place()).await?.live() {
            Some(_) => Ok(portal.refuser(&visit).show(&SignedInElsewhere { continue_to: "/".to_owned() })),
            None => Ok(see_other("/.linkgate/sign-in")),
        };
    };
    let present = portal.sessions.find(&headers, visit.place()).await?.live();
    let progress = portal.progress(&browser).await?;
    if let Progress::Chosen { opened, attempt } = progress {
        if visit::is_deliberate(&headers) {
            return callback::redeem_chosen(&portal, &visit, &headers, &browser, &opened, attempt, present).await;
        }
        return Ok(portal.refuser(&visit).show(&portal.waiting_page(&browser, &attempt, false)));
    }
    let (stopped, attempt) = match progress {
        Progress::Stopped(attempt) => (true, Some(attempt)),
        _ => (false, portal.attempts.newest(&browser).await?),
    };
    let is_step_up = attempt.as_ref().is_some_and(|attempt| attempt.step_up);
    if !is_step_up && present.is_some() {
        let continue_to = attempt.map_or_else(|| "/".to_owned(), |attempt| attempt.return_to);
        return Ok(portal.refuser(&visit).show(&SignedInElsewhere { continue_to }));
    }
    let Some(attempt) = attempt else { return Ok(see_other("/.linkgate/sign-in")) };
    Ok(if stopped {
        portal.refuser(&visit).show(&portal.stopped_page(&browser, &attempt))
    } else {
        portal.refuser(&visit).show(&portal.waiting_page(&browser, &attempt, false))
    })
}
