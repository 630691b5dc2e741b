//! The account page: where a visitor is signed in, and the personal tokens that they have made.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::answer::{Failure, Refusal, see_other};
use super::return_to::ACCOUNT;
use super::sign_in::check_form;
use super::{Portal, Visit};
use crate::pages::{Account, Began, MadeToken, SignInRow, TokenProblem, TokenRow};
use crate::personal_token::{Made, NotMade, Wanted};
use crate::secret::{fingerprint, random_token};
use crate::session::id::Key;
use crate::session::{Listed, Live};
use crate::setting::Span;

/// A token outlives the session that makes it. So whoever makes one has signed in this recently: a browser that was
/// left open, or a stolen cookie, makes none.
const RECENT: Duration = Duration::from_secs(3600);
/// How long it is remembered that a form was sent, so that it makes nothing a second time.
const FORM: Duration = Duration::from_secs(24 * 3600);
/// Where somebody signs in once more for this page.
const STEP_UP: &str = "/.linkgate/sign-in?step_up=1&return_to=%2F.linkgate%2Faccount";
const SIGN_IN: &str = "/.linkgate/sign-in?return_to=%2F.linkgate%2Faccount";

/// What the form holds. Whatever stands there twice, but for routes, counts as it stands last.
#[derive(Default)]
struct Form {
    csrf: String,
    once: String,
    name: String,
    minutes: String,
    routes: Vec<String>,
    revoke: String,
    end: String,
    end_others: String,
}

impl Form {
    fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            let value = value.into_owned();
            match &*name {
                "csrf" => form.csrf = value,
                "once" => form.once = value,
                "name" => form.name = value,
                "minutes" => form.minutes = value,
                "route" => form.routes.push(value),
                "revoke" => form.revoke = value,
                "end" => form.end = value,
                "end_others" => form.end_others = value,
                _ => {}
            }
        }
        form
    }
}

/// What the page shows beside the tokens that there are.
#[derive(Default)]
struct Shown {
    made: Option<MadeToken>,
    problem: Option<TokenProblem>,
    name: String,
}

/// `GET /.linkgate/account` on another host than the public one.
pub(super) async fn elsewhere(State(portal): State<Arc<Portal>>) -> Response {
    see_other(&portal.public_url.join(ACCOUNT))
}

/// `GET /.linkgate/account`
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    match portal.sessions.find(&headers, visit.place()).await?.live() {
        Some(live) => portal.account(&visit, &live, Shown::default()).await,
        None => Ok(see_other(SIGN_IN)),
    }
}

/// `POST /.linkgate/account`: ends sessions, makes a token, or revokes one.
pub(super) async fn change(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    check_form(&headers, &body)?;
    let form = Form::read(&body);
    let Some(live) = portal.sender(&visit, &headers, &form.csrf).await? else { return Ok(see_other(SIGN_IN)) };
    if !form.end.is_empty() || !form.end_others.is_empty() {
        return portal.end_sign_ins(&visit, &live, &form).await;
    }
    portal.are_tokens_on()?;
    if form.revoke.is_empty() {
        portal.make(&visit, &live, form).await
    } else {
        portal.revoke(&visit, &live, form).await
    }
}

impl Portal {
    /// Refuses what there is not, where the operator has turned personal tokens off.
    pub(super) fn are_tokens_on(&self) -> Result<(), Refusal> {
        if self.personal_tokens.config().enabled { Ok(()) } else { Err(Refusal::NotFound) }
    }

    /// Whether somebody signed in recently enough to make a token.
    pub(super) fn may_make_tokens(&self, live: &Live) -> bool {
        self.clock.now() < live.signed_in_at().plus(RECENT)
    }

    async fn make(&self, visit: &Visit, live: &Live, form: Form) -> Result<Response, Failure> {
        if !self.may_make_tokens(live) {
            return Ok(see_other(STEP_UP));
        }
        let wanted = self.wanted(live, &form);
        let Some(wanted) = wanted else { return self.not_made(visit, live, TokenProblem::Bounds, form.name).await };
        if !self.is_first(live, &form.once).await? {
            return Ok(see_other(ACCOUNT));
        }
        let Made { text, token } = match self.personal_tokens.make(wanted).await {
            Ok(made) => made,
            Err(NotMade::Store(error)) => return Err(error.into()),
            Err(NotMade::Name) => return self.not_made(visit, live, TokenProblem::Name, form.name).await,
            Err(NotMade::Bounds) => return self.not_made(visit, live, TokenProblem::Bounds, form.name).await,
            Err(NotMade::TooMany) => return self.not_made(visit, live, TokenProblem::TooMany, form.name).await,
        };
        tracing::info!(request.id = visit.request_id, subject = %token.subject, token = token.key.id(), "a personal token was made");
        let made = MadeToken { name: token.name, text: text.expose().clone() };
        self.account(visit, live, Shown { made: Some(made), ..Shown::default() }).await
    }

    /// What the form asks for; `None` where the page does not offer it.
    fn wanted<'a>(&self, live: &'a Live, form: &'a Form) -> Option<Wanted<'a>> {
        let minutes: u64 = form.minutes.parse().ok()?;
        let lifetime = self.personal_tokens.config().choices().into_iter().find(|span| minutes_of(*span) == minutes)?;
        form.routes.iter().all(|route| self.token_routes.contains(route)).then(|| Wanted {
            identity: live.identity(),
            signed_in_at: live.signed_in_at(),
            name: &form.name,
            routes: form.routes.clone(),
            lifetime: lifetime.0,
        })
    }

    /// Whether a form comes for the first time. A page that is loaded again sends it again.
    async fn is_first(&self, live: &Live, once: &str) -> Result<bool, Failure> {
        let name = format!("account_form:{}", fingerprint(&format!("{} {once}", live.csrf_token())));
        Ok(self.store.put_if_absent(&name, b"", self.clock.now().plus(FORM)).await?)
    }

    async fn not_made(
        &self,
        visit: &Visit,
        live: &Live,
        problem: TokenProblem,
        name: String,
    ) -> Result<Response, Failure> {
        let mut page = self.account(visit, live, Shown { problem: Some(problem), name, made: None }).await?;
        *page.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        Ok(page)
    }

    /// Signs out elsewhere: in one place or in all others.
    async fn end_sign_ins(&self, visit: &Visit, live: &Live, form: &Form) -> Result<Response, Failure> {
        let is_meant = |key: Key| form.end.is_empty() || form.end == key.to_text();
        let ended = self.sessions.end_others(live, is_meant).await?;
        let subject = live.subject();
        tracing::info!(request.id = visit.request_id, %subject, ended, "signed out elsewhere");
        Ok(see_other(ACCOUNT))
    }

    async fn revoke(&self, visit: &Visit, live: &Live, form: Form) -> Result<Response, Failure> {
        let subject = live.subject();
        // Only one's own are looked among.
        let own = self.personal_tokens.of(&subject).await?;
        if let Some(listed) = own.iter().find(|listed| listed.token.key.id() == form.revoke) {
            self.personal_tokens.revoke(&listed.token).await?;
            tracing::info!(request.id = visit.request_id, %subject, token = form.revoke, "a personal token was revoked");
        }
        Ok(see_other(ACCOUNT))
    }

    async fn account(&self, visit: &Visit, live: &Live, shown: Shown) -> Result<Response, Failure> {
        let identity = live.identity();
        let mut sign_ins = self.sessions.of(&identity.subject).await?;
        sign_ins.sort_by_key(|listed| listed.key != live.key());
        let has_tokens = self.personal_tokens.config().enabled;
        let listed = if has_tokens { self.personal_tokens.of(&identity.subject).await? } else { Vec::new() };
        let tokens = listed.into_iter().map(|listed| TokenRow {
            id: listed.token.key.id(),
            name: listed.token.name,
            routes: listed.token.routes,
            made_at: listed.token.made_at,
            used_at: listed.used_at,
            expires_at: listed.token.expires_at,
        });
        let view = Account {
            csrf: live.csrf_token(),
            once: random_token().expose().clone(),
            address: identity.shown_name(),
            sign_ins: sign_ins.into_iter().map(|listed| sign_in_row(listed, live)).collect(),
            has_tokens,
            tokens: tokens.collect(),
            routes: self.token_routes.clone(),
            choices: self.personal_tokens.config().choices().into_iter().map(minutes_of).collect(),
            may_make: self.may_make_tokens(live),
            made: shown.made,
            problem: shown.problem,
            name: shown.name,
        };
        Ok(self.refuser(visit).show(&view))
    }
}

fn sign_in_row(listed: Listed, live: &Live) -> SignInRow {
    let Listed { key, beginning, used_at, streams } = listed;
    let began = beginning.map(|beginning| Began {
        at: beginning.at,
        browser: beginning.whence.agent.browser,
        system: beginning.whence.agent.system,
        client: beginning.whence.client.to_string(),
    });
    SignInRow { key: key.to_text(), is_this: key == live.key(), began, used_at, streams }
}

fn minutes_of(span: Span) -> u64 {
    span.0.as_secs() / 60
}
