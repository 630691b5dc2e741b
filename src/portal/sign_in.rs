//! Asking for a magic link: the page, the form, and the page that waits.
//!
//! The answer is the same for every address and is given before Mosaic is asked, so that neither its words nor
//! its time say who exists.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use super::answer::{Failure, Refusal, see_other};
use super::throttle::Mailbox;
use super::{Portal, Visit, names, return_to, text, visit};
use crate::agent::Agent;
use crate::identity::{AddressRule, BadAddress, EmailAddress, Identifier};
use crate::mosaic::{self, Device, NewUser, SendMagicLink};
use crate::pages::{
    AddressProblem, AlreadySignedIn, CheckEmail, CookiesBlocked, EnterAddress, Notice, SignedInElsewhere, Webmail,
};
use crate::secret::{self, Secret};
use crate::session::attempt::{Attempt, Browser};
use crate::session::{Chain, Ending, Found};
use crate::setting::Span;

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

const SENT: &str = "/.linkgate/sign-in/sent";
/// The form has four short fields.
const MOST_FORM_BYTES: usize = 16 * 1024;

/// `GET /.linkgate/sign-in?return_to=/path`
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let return_to = return_to::accept(&query_value(query.as_deref(), "return_to"), &portal.public_url);
    let found = portal.sessions.find(&headers).await?;
    if let Found::Session(live) = &found {
        return Ok(portal.refuser(&visit).show(&AlreadySignedIn {
            address: live.session().shown_name(),
            csrf: live.csrf_token(),
            return_to,
        }));
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
    let address = waiting.map(|attempt| attempt.address.to_string()).unwrap_or_default();
    let page = EnterAddress { address, notice, ..EnterAddress::of(&browser, &return_to) };
    let mut answer = portal.refuser(&visit).show(&page);
    if known.is_none() {
        answer.headers_mut().append(header::SET_COOKIE, browser.cookie(portal.jar));
    }
    if notice.is_some() {
        answer.headers_mut().append(header::SET_COOKIE, portal.sessions.clearing_cookie());
    }
    Ok(answer)
}

/// The last value of `name` in a query string.
fn query_value(query: Option<&str>, name: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).last().unwrap_or_default()
}

impl EnterAddress {
    fn of(browser: &Browser, return_to: &str) -> Self {
        Self {
            csrf: browser.csrf_token(),
            return_to: return_to.to_owned(),
            going_to: (return_to != "/").then(|| return_to.split(['?', '#']).next().unwrap_or("/").to_owned()),
            ..Self::default()
        }
    }
}

/// The fields of the form, each at most once.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    email: String,
    csrf: String,
    return_to: String,
    again: String,
}

impl Form {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        if body.len() > MOST_FORM_BYTES {
            return Err(Refusal::Status(413));
        }
        // Media types are compared in any case (RFC 9110 section 8.3.1).
        let kind = text(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
        match kind.split(';').next().unwrap_or_default().trim() {
            "application/x-www-form-urlencoded" => serde_urlencoded::from_bytes(body).map_err(|_| Refusal::BadRequest),
            "application/json" => serde_json::from_slice(body).map_err(|_| Refusal::BadRequest),
            _ => Err(Refusal::Status(415)),
        }
    }
}

/// `POST /.linkgate/sign-in`
pub(super) async fn send(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let form = Form::read(&headers, &body)?;
    let return_to = return_to::accept(&form.return_to, &portal.public_url);
    if !visit::is_same_origin(&headers, &portal.public_url) {
        return Err(Refusal::StaleForm.into());
    }
    let Some(browser) = Browser::find(portal.jar, &headers) else {
        let host = portal.public_url.host.clone();
        let page = CookiesBlocked { host, return_to };
        return Ok(portal.refuser(&visit).answer_with(&page, Refusal::CookiesBlocked, &headers));
    };
    if !secret::same(browser.csrf_token().as_bytes(), form.csrf.as_bytes()) {
        return Err(Refusal::StaleForm.into());
    }
    let address = match EmailAddress::parse(&form.email) {
        Ok(address) => address,
        Err(problem) => {
            let empty = form.email.trim().is_empty() && problem == BadAddress::Incomplete;
            let problem = if empty { AddressProblem::Empty } else { AddressProblem::Incomplete };
            let address = form.email.chars().take(254).collect();
            let page = EnterAddress { address, problem: Some(problem), ..EnterAddress::of(&browser, &return_to) };
            return Ok(portal.refuser(&visit).answer_with(&page, Refusal::NoAddress, &headers));
        }
    };
    if let Some(until) = portal.throttle.admit(visit.client).await? {
        tracing::info!(request.id = visit.request_id, "refused a request for a link: too many");
        return Err(Refusal::TooManyRequests { until }.into());
    }
    if !portal.mosaic.is_reachable() {
        return Err(Refusal::SignInUnavailable.into());
    }
    portal.begin(&visit, &browser, address, return_to, !form.again.is_empty(), &headers).await?;
    let mut answer = see_other(SENT);
    // However long the page was open: the browser's name must outlive the link.
    answer.headers_mut().append(header::SET_COOKIE, browser.cookie(portal.jar));
    Ok(answer)
}

impl Portal {
    /// Begins an attempt and has its link sent, as far as the mailbox's budget goes.
    async fn begin(
        self: &Arc<Self>,
        visit: &Visit,
        browser: &Browser,
        address: EmailAddress,
        return_to: String,
        again: bool,
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        self.metrics.sign_in("asked");
        let mailbox = self.throttle.mail(&address).await?;
        let waiting = self.attempts.newest(browser).await?.filter(|attempt| attempt.address == address);
        let user_agent = text(headers, "user-agent").map(|text| text.chars().take(256).collect::<String>());
        let attempt = |resend_at, limit_until| Attempt {
            address: address.clone(),
            return_to: return_to.clone(),
            agent: Agent::parse(user_agent.as_deref()),
            begun_at: now,
            expires_at: now.plus(self.sign_in.link_lifetime.0),
            resend_at,
            limit_until,
            sent_again: again && waiting.is_some(),
            superseded_at: None,
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
            self.attempts.supersede(browser, &address).await?;
        }
        let state = self.attempts.begin(browser, &attempt).await?;
        if send && self.admits(&address) {
            let portal = Arc::clone(self);
            let visit = visit.clone();
            self.tasks.spawn(async move { portal.mail(&visit, &address, &state, user_agent.as_deref()).await });
        } else {
            self.metrics.sign_in("not_sent");
            tracing::info!(
                request.id = visit.request_id,
                "a link was asked for and not sent: not allowed, or too many"
            );
        }
        Ok(())
    }

    /// Has the link mailed. Whatever comes of it is for the log: the visitor was answered.
    async fn mail(&self, visit: &Visit, address: &EmailAddress, state: &Secret<String>, user_agent: Option<&str>) {
        let redirect_uri = self.redirect_uri();
        let identifier = Identifier::Email(address.clone());
        let request = SendMagicLink {
            identifier: &identifier,
            redirect_uri: &redirect_uri,
            state: state.expose(),
            link_lifetime: self.sign_in.link_lifetime.0,
            device: Device { user_agent, address: Some(visit.client), ..Device::default() },
            email_content: None,
        };
        let mut sent = self.mosaic.send_magic_link(&request).await;
        if matches!(sent, Err(mosaic::Error::UserNotFound)) && names(&self.sign_up.allow, address) {
            let user = NewUser { email: Some(address.clone()), ..NewUser::default() };
            sent = match self.mosaic.create_user(&user).await {
                Ok(_) => self.mosaic.send_magic_link(&request).await,
                Err(error) => Err(error),
            };
        }
        match sent {
            Ok(_) => {
                self.metrics.sign_in("sent");
                tracing::info!(request.id = visit.request_id, "sent a link");
            }
            Err(error) if error.is_about_the_user() => {
                self.metrics.sign_in("not_sent");
                tracing::info!(request.id = visit.request_id, reason = %error, "a link was asked for and not sent");
            }
            Err(error) => {
                self.metrics.sign_in("failed");
                tracing::warn!(request.id = visit.request_id, error = %Chain(&error), "failed to send a link");
            }
        }
    }
}

/// `GET /.linkgate/sign-in/sent`
pub(super) async fn sent(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let browser = Browser::find(portal.jar, &headers);
    let attempt = match &browser {
        Some(browser) => portal.attempts.newest(browser).await?,
        None => None,
    };
    let refuser = portal.refuser(&visit);
    if portal.sessions.find(&headers).await?.live().is_some() {
        let continue_to = attempt.map_or_else(|| "/".to_owned(), |attempt| attempt.return_to);
        return Ok(refuser.show(&SignedInElsewhere { continue_to }));
    }
    let (Some(browser), Some(attempt)) = (browser, attempt) else { return Ok(see_other("/.linkgate/sign-in")) };
    Ok(refuser.show(&CheckEmail {
        csrf: browser.csrf_token(),
        webmail: Webmail::of(&attempt.address),
        suggestion: crate::pages::suggestion(&attempt.address),
        address: attempt.address,
        expires_at: attempt.expires_at,
        resend_at: attempt.resend_at,
        sent_again_at: attempt.sent_again.then_some(attempt.begun_at),
        limit_until: attempt.limit_until.filter(|until| *until > refuser.now),
        sender: None,
        return_to: attempt.return_to,
    }))
}
