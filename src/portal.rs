//! Everything under `/.linkgate/`: signing in and out, and what a visitor may know about their session.
//!
//! A router that is called in-process; it has never heard of the proxy that calls it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::assertion::Assertions;
use crate::clock::Clock;
use crate::identity::{AddressRule, EmailAddress};
use crate::mosaic::{Mosaic, Step};
use crate::origin::{Hosts, Origin};
use crate::pages::Pages;
use crate::personal_token::PersonalTokens;
use crate::personal_token::device::Devices;
use crate::secret;
use crate::session::attempt::{Attempts, is_token};
use crate::session::cookie::{Jar, Kind};
use crate::session::{Live, Sessions, Whence};
use crate::store::Shared;
use crate::telemetry::Metrics;

pub mod access;
mod account;
mod admission;
pub mod answer;
mod callback;
mod code;
pub mod debug;
mod device;
mod hand_over;
mod keys;
pub mod language;
pub mod notices;
mod number_match;
pub mod oauth2_proxy;
pub mod organization;
pub mod post;
pub mod return_to;
mod rounds;
mod sending;
mod session;
pub mod sign_in;
mod sign_out;
mod silent;
mod throttle;
pub mod visit;

use access::Access;
use answer::{Failure, Refusal, Refuser};
use organization::Organizations;
use post::Post;
use throttle::Throttle;
pub use visit::Visit;

/// What the portal is made of.
pub struct Parts {
    /// Where visitors reach the gateway, and the other hosts that they are handed over to.
    pub hosts: Hosts,
    /// The pages.
    pub pages: Arc<Pages>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The tokens that visitors make for their programs.
    pub personal_tokens: Arc<PersonalTokens>,
    /// The names of the routes that take them.
    pub token_routes: Vec<String>,
    /// What asking for access takes, where a route has owners.
    pub access: Option<Access>,
    /// What carries mails of the gateway's own, with the built-in issuer.
    pub post: Option<Arc<dyn Post>>,
    /// The store, for attempts and budgets.
    pub store: Shared,
    /// What upstreams can check about a visitor.
    pub assertions: Arc<Assertions>,
    /// The client of Mosaic or of the built-in issuer.
    pub mosaic: Mosaic,
    /// The time.
    pub clock: Clock,
    /// `[sign_in]`
    pub sign_in: sign_in::Config,
    /// `[sign_up]`
    pub sign_up: sign_in::SignUp,
    /// What depends on who signs visitors in.
    pub options: Options,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What goes on in the background, to be waited for.
    pub tasks: TaskTracker,
    /// What the debug page shows, where there is one.
    pub debug: Option<Arc<dyn debug::Explain>>,
}

/// What depends on who signs visitors in: Mosaic, or the built-in issuer.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which organisation is signed in to.
    pub organizations: Organizations,
    /// Whether Mosaic is told a lasting name of the browser.
    pub device_ids: bool,
    /// Whether mails have the gateway's texts in place of the sender's own.
    pub own_mail_texts: bool,
    /// Whether a mailed link comes with a code to type.
    pub code_comes_with_link: bool,
    /// The address that mails come from, where it is known.
    pub sender: Option<String>,
}

/// The portal: its parts, and what it makes of them.
pub struct Portal {
    hosts: Hosts,
    public_url: Origin,
    pages: Arc<Pages>,
    sessions: Arc<Sessions>,
    personal_tokens: Arc<PersonalTokens>,
    token_routes: Vec<String>,
    access: Option<Access>,
    post: Option<Arc<dyn Post>>,
    devices: Devices,
    store: Shared,
    attempts: Attempts,
    throttle: Throttle,
    assertions: Arc<Assertions>,
    mosaic: Mosaic,
    clock: Clock,
    jar: Jar,
    sign_in: sign_in::Config,
    sign_up: sign_in::SignUp,
    options: Options,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    debug: Option<Arc<dyn debug::Explain>>,
}

/// The path of the redirect URI.
pub const CALLBACK: &str = "/.linkgate/callback";

impl Portal {
    /// A portal of these parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            attempts: Attempts::new(&parts.store, &parts.clock),
            devices: Devices::new(Arc::clone(&parts.store), parts.clock.clone()),
            throttle: Throttle::new(&parts.store, &parts.sign_in),
            jar: Jar::new(parts.hosts.public_url().is_secure()),
            public_url: parts.hosts.public_url().clone(),
            hosts: parts.hosts,
            pages: parts.pages,
            sessions: parts.sessions,
            personal_tokens: parts.personal_tokens,
            token_routes: parts.token_routes,
            access: parts.access,
            post: parts.post,
            store: parts.store,
            assertions: parts.assertions,
            mosaic: parts.mosaic,
            clock: parts.clock,
            sign_in: parts.sign_in,
            sign_up: parts.sign_up,
            options: parts.options,
            metrics: parts.metrics,
            tasks: parts.tasks,
            debug: parts.debug,
        })
    }

    /// The router of the other hosts: what is signed in to and out of there, and no more.
    pub fn router_elsewhere(self: &Arc<Self>) -> Router {
        let router = Router::new()
            .route("/.linkgate/sign-in", get(hand_over::begin))
            .route(hand_over::ARRIVE, get(hand_over::arrive))
            .route("/.linkgate/sign-out", get(sign_out::page).post(sign_out::end))
            .route("/.linkgate/signed-out", get(sign_out::done))
            .route("/.linkgate/session", get(session::show))
            .route("/.linkgate/keys.json", get(keys::show))
            .route(language::PATH, get(language::choose))
            .route(return_to::ACCOUNT, get(account::elsewhere))
            .route(return_to::ACCESS, get(access::asked).post(access::ask))
            .route(return_to::DEVICE, get(device::elsewhere))
            .route(device::CODE, post(device::elsewhere))
            .route(device::TOKEN, post(device::elsewhere))
            .method_not_allowed_fallback(async || Failure::from(Refusal::Status(405)))
            .fallback(async || Failure::from(Refusal::NotFound))
            .with_state(Arc::clone(self))
            .merge(oauth2_proxy::router(self))
            .merge(assets(&self.pages));
        Dress { pages: Arc::clone(&self.pages), clock: self.clock.clone() }.put_on(router)
    }

    /// The router of the public host; `guests` are pages of the built-in issuer on the same origin.
    pub fn router(self: &Arc<Self>, guests: Router) -> Router {
        let router = Router::new()
            .route("/.linkgate/sign-in", get(sign_in::page).post(sign_in::send))
            .route("/.linkgate/sign-in/sent", get(sign_in::sent))
            .route("/.linkgate/sign-in/code", post(code::enter))
            .route("/.linkgate/sign-in/number", get(number_match::done).post(number_match::choose))
            .route("/.linkgate/sign-in/progress", get(number_match::progress))
            .route(CALLBACK, get(callback::redeem))
            .route(hand_over::HAND_OVER, get(hand_over::hand_over))
            .route("/.linkgate/sign-out", get(sign_out::page).post(sign_out::end))
            .route("/.linkgate/signed-out", get(sign_out::done))
            .route("/.linkgate/session", get(session::show))
            .route(debug::PATH, get(debug::page))
            .route("/.linkgate/keys.json", get(keys::show))
            .route(language::PATH, get(language::choose))
            .route(return_to::ACCOUNT, get(account::page).post(account::change))
            .route(return_to::ACCESS, get(access::asked).post(access::ask))
            .route(&format!("{}/{{key}}", return_to::ACCESS), get(access::page).post(access::answer))
            .route(return_to::DEVICE, get(device::page).post(device::decide))
            .route(device::CODE, post(device::begin))
            .route(device::TOKEN, post(device::token))
            .method_not_allowed_fallback(async || Failure::from(Refusal::Status(405)))
            .fallback(async || Failure::from(Refusal::NotFound))
            .with_state(Arc::clone(self))
            .merge(oauth2_proxy::router(self))
            .merge(guests)
            .merge(assets(&self.pages));
        Dress { pages: Arc::clone(&self.pages), clock: self.clock.clone() }.put_on(router)
    }

    fn refuser<'a>(&'a self, visit: &'a Visit) -> Refuser<'a> {
        Refuser {
            pages: &self.pages,
            origin: &visit.origin,
            request_id: &visit.request_id,
            now: self.clock.now(),
            reader: visit.reader.clone(),
        }
    }

    /// Who sent a form of our own, where they are signed in; a form of somebody else's is refused.
    async fn sender(&self, visit: &Visit, headers: &HeaderMap, csrf: &str) -> Result<Option<Arc<Live>>, Failure> {
        if !visit::is_same_origin(headers, &visit.origin) {
            return Err(Refusal::StaleForm.into());
        }
        let Some(live) = self.sessions.find(headers, visit.place()).await?.live() else { return Ok(None) };
        if !secret::same(live.csrf_token().as_bytes(), csrf.as_bytes()) {
            return Err(Refusal::StaleForm.into());
        }
        Ok(Some(live))
    }

    /// Whether what a visitor asks for may well be sent now.
    async fn can_send(&self, step: Step) -> bool {
        let is_open = match &self.post {
            Some(post) => post.is_open().await,
            None => true,
        };
        is_open && self.mosaic.is_reachable(step)
    }

    /// The lasting name of the browser, where Mosaic is told one and the browser has one.
    fn device_id(&self, headers: &HeaderMap) -> Option<String> {
        let values = self.jar.values(Kind::Device, headers);
        match values.as_slice() {
            [value] if self.options.device_ids && is_token(value) => Some((*value).to_owned()),
            _ => None,
        }
    }

    /// A return target as it is good on the host that is visited.
    fn accept(&self, text: &str, visit: &Visit) -> String {
        return_to::accept(text, &visit.origin, &self.hosts)
    }

    /// The host that a visitor of the public one lands on.
    fn landing_host(&self, return_to: &str) -> String {
        let elsewhere = url::Url::parse(return_to).ok().and_then(|url| url.host_str().map(str::to_owned));
        elsewhere.unwrap_or_else(|| self.public_url.host.clone())
    }

    fn redirect_uri(&self) -> String {
        self.public_url.join(CALLBACK)
    }
}

/// Where somebody comes from who signs in.
fn whence(visit: &Visit, headers: &HeaderMap) -> Whence {
    Whence { agent: Agent::parse(text(headers, "user-agent")), client: visit.client }
}

fn names(rules: &[AddressRule], address: &EmailAddress) -> bool {
    rules.iter().any(|rule| rule.names(address))
}

/// The outermost layer of pages: failures become answers, and every answer gets the gateway's own headers.
pub struct Dress {
    /// The pages.
    pub pages: Arc<Pages>,
    /// The time.
    pub clock: Clock,
}

impl Dress {
    /// The same router in this layer. Its requests carry a [`Visit`].
    pub fn put_on(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), dress))
    }
}

async fn dress(State(dress): State<Arc<Dress>>, mut request: Request, next: Next) -> Response {
    let visit = request.extensions().get::<Visit>().cloned();
    let Some(Visit { request_id, origin, reader, .. }) = visit else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // For the guests, which have never heard of visits.
    request.extensions_mut().insert(reader.clone());
    let headers = request.headers().clone();
    let mut answer = next.run(request).await;
    let Dress { pages, clock } = &*dress;
    if let Some(refusal) = answer.extensions().get::<Refusal>() {
        let refuser = Refuser { pages, origin: &origin, request_id: &request_id, now: clock.now(), reader };
        let mut refused = refuser.answer(*refusal, &headers);
        // The router knows which methods there are (RFC 9110 section 15.5.6).
        if let Some(allowed) = answer.headers_mut().remove(header::ALLOW) {
            refused.headers_mut().insert(header::ALLOW, allowed);
        }
        return refused;
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    if kind.starts_with(b"text/html") {
        answer::name_language(answer.headers_mut(), &reader);
    }
    answer::dress(answer.headers_mut(), &request_id, &origin);
    answer
}

/// What pages are made of beside their text: `GET /.linkgate/assets/{name}`.
pub fn assets(pages: &Arc<Pages>) -> Router {
    Router::new()
        .route("/.linkgate/assets/{name}", get(asset))
        .method_not_allowed_fallback(async || Failure::from(Refusal::Status(405)))
        .with_state(Arc::clone(pages))
}

async fn asset(State(pages): State<Arc<Pages>>, Path(name): Path<String>) -> Result<Response, Failure> {
    let asset = pages.asset(&name).ok_or(Refusal::NotFound)?;
    Ok(answer::asset(asset))
}

/// The last value of `name` in a query string.
fn query_value(query: Option<&str>, name: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).last().unwrap_or_default()
}

/// The text of a field, where it is text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
