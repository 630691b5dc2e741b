//! What is made from a configuration, and made anew where another configuration has it otherwise. What a part has in
//! memory is kept as long as what it is made of stays the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::demo::Demo;
use super::explain::DebugPage;
use super::{Background, Error, LONGEST_RETRY, READINESS, RETRY};
use crate::admin::Readiness;
use crate::assertion::Assertions;
use crate::clock::Clock;
use crate::config::{Change, Config};
use crate::credential::{self, Credentials};
use crate::grant::Grants;
use crate::grant::request::Requests;
use crate::identity::headers::Plan;
use crate::identity::{ClaimPath, EmailAddress, IdentifierKind};
use crate::mosaic::{ClaimsRequest, Connection, EmailTemplate, Mosaic};
use crate::origin::Hosts;
use crate::pages::Pages;
use crate::personal_token::PersonalTokens;
use crate::portal::access::{Access, Owned};
use crate::portal::debug::Explain;
use crate::portal::organization::Organizations;
use crate::portal::post::Post;
use crate::portal::{self, Portal};
use crate::proxy::access::Rule;
use crate::proxy::headers::Managed;
use crate::proxy::route::{self, Table};
use crate::proxy::upstream::Upstreams;
use crate::proxy::upstream::setting::Servers;
use crate::proxy::upstream::url::UpstreamUrl;
use crate::proxy::{Site, Terms, refusal, tls};
use crate::session::cookie::Jar;
use crate::session::{self, Admission, Chain, Sessions};
use crate::store::{self, Shared};
use crate::telemetry::Metrics;

/// What stays as long as the program runs.
pub(super) struct Ground {
    pub(super) store: Shared,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    /// Who may pass a route whose rules do not name them.
    pub(super) grants: Arc<Grants>,
    /// What portals and sessions, the present ones and those before, do in the background.
    pub(super) tasks: TaskTracker,
    /// Where requests go, with what is known of its health.
    pub(super) upstreams: Upstreams,
    /// Tells when everything ends.
    pub(super) closing: watch::Receiver<bool>,
    /// How the built-in issuer is called, and its pages, with one.
    pub(super) issuer: Option<(Connection, Router)>,
    /// What carries mails, with one.
    pub(super) post: Option<Arc<dyn Post>>,
}

/// The parts that serve requests.
pub(super) struct Parts {
    pub(super) config: Config,
    tls: Option<Arc<tls::Server>>,
    pages: Arc<Pages>,
    claims: ClaimsRequest,
    mosaic: Mosaic,
    sessions: Arc<Sessions>,
    credentials: Arc<Credentials>,
    terms: Arc<Terms>,
    assertions: Arc<Assertions>,
    portal: Arc<Portal>,
    demo: Option<Demo>,
    /// Hears of sessions that others ended.
    ends: Arc<Background>,
    /// Hears of personal tokens that others revoked.
    revocations: Arc<Background>,
    /// Looks after the store and Mosaic.
    health: Arc<Background>,
}

impl Parts {
    /// The parts of a configuration.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub(super) fn new(ground: &Ground, config: &Config, pages: Arc<Pages>) -> Result<Self, Error> {
        let claims = claims_wanted(config);
        let mosaic = ground.mosaic(config, claims.clone())?;
        let sessions = ground.sessions(config, &mosaic)?;
        let demo = wants_demo(config).then(|| Demo::start(&pages, &ground.closing)).transpose()?;
        let terms = ground.terms(config, demo.as_ref())?;
        let assertions = ground.assertions(config);
        let credentials = ground.credentials(config, &mosaic, &sessions)?;
        Ok(Self {
            config: config.clone(),
            tls: tls_of(config)?,
            revocations: ground.listen_for_revocations(&credentials),
            credentials,
            portal: ground.portal(config, &pages, &mosaic, &sessions, &terms, &assertions)?,
            demo,
            terms,
            ends: ground.listen_for_ends(&sessions),
            health: ground.watch_readiness(&mosaic),
            pages,
            claims,
            mosaic,
            sessions,
            assertions,
        })
    }

    /// The parts of `config`, which differs from that of these parts by `changes`. Until they are used, everything is
    /// as it was.
    ///
    /// # Errors
    /// As [`Parts::new`].
    pub(super) fn next(&self, ground: &Ground, config: &Config, changes: &[Change]) -> Result<Self, Error> {
        let touched = |settings: &[&str]| changes.iter().any(|change| settings.iter().any(|name| change.is_of(name)));
        let tls = if touched(&["tls"]) { tls_of(config)? } else { self.tls.clone() };
        let pages = if touched(&["theme", "public_url"]) {
            let pages = Arc::new(Pages::new(&config.theme, &config.public_url, &config.directory)?);
            pages.count_in(&ground.metrics);
            pages
        } else {
            Arc::clone(&self.pages)
        };
        let claims = claims_wanted(config);
        let is_other_mosaic = touched(&["mosaic"]) || claims != self.claims;
        let (mosaic, health) = if is_other_mosaic {
            let mosaic = ground.mosaic(config, claims.clone())?;
            let health = ground.watch_readiness(&mosaic);
            (mosaic, health)
        } else {
            (self.mosaic.clone(), Arc::clone(&self.health))
        };
        let of_sessions = ["public_url", "identity_headers", "session", "sign_in.allow", "sign_in.identifier"];
        let are_other_sessions = is_other_mosaic || touched(&of_sessions);
        let (sessions, ends) = if are_other_sessions {
            let sessions = ground.sessions(config, &mosaic)?;
            let ends = ground.listen_for_ends(&sessions);
            (sessions, ends)
        } else {
            (Arc::clone(&self.sessions), Arc::clone(&self.ends))
        };
        let (credentials, revocations) = if are_other_sessions || touched(&["personal_tokens"]) {
            let credentials = ground.credentials(config, &mosaic, &sessions)?;
            let revocations = ground.listen_for_revocations(&credentials);
            (credentials, revocations)
        } else {
            (Arc::clone(&self.credentials), Arc::clone(&self.revocations))
        };
        let assertions = if touched(&["assertion", "public_url"]) {
            self.assertions.next(&config.public_url, &config.assertion)
        } else {
            Arc::clone(&self.assertions)
        };
        let demo = match &self.demo {
            Some(demo) => Some(demo.clone()),
            None => wants_demo(config).then(|| Demo::start(&pages, &ground.closing)).transpose()?,
        };
        let terms = ground.terms(config, demo.as_ref())?;
        let portal = ground.portal(config, &pages, &mosaic, &sessions, &terms, &assertions)?;
        let config = config.clone();
        Ok(Self {
            config,
            tls,
            pages,
            claims,
            mosaic,
            sessions,
            credentials,
            assertions,
            terms,
            portal,
            demo,
            ends,
            revocations,
            health,
        })
    }

    /// What is served with these parts.
    pub(super) fn site(&self, ground: &Ground) -> Site {
        let config = &self.config;
        let hosts = hosts_of(config);
        let guests = ground.issuer.as_ref().map(|(_, pages)| pages.clone()).unwrap_or_default();
        Site {
            content_policy: refusal::content_policy(&hosts),
            terms: Arc::clone(&self.terms),
            credentials: Arc::clone(&self.credentials),
            grants: Arc::clone(&ground.grants),
            assertions: Arc::clone(&self.assertions),
            portal: self.portal.router(guests),
            portal_elsewhere: self.portal.router_elsewhere(),
            hosts,
            pages: Arc::clone(&self.pages),
            proxy_protocol: config.proxy_protocol.clone(),
            tls: self.tls.clone(),
        }
    }

    /// Lets what is not replaced follow, once the parts are used.
    pub(super) fn settle_in(&self) {
        if let Some(demo) = &self.demo {
            demo.dress(&self.pages);
        }
    }
}

impl Ground {
    /// Waits until everything that was begun in the background is done.
    pub(super) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    fn mosaic(&self, config: &Config, claims: ClaimsRequest) -> Result<Mosaic, Error> {
        let mut connection = match (&self.issuer, &config.mosaic) {
            (Some((connection, _)), _) => connection.clone(),
            (None, mosaic) => mosaic.clone().unwrap_or_default().connection()?,
        };
        connection.wording.claims = claims;
        Ok(Mosaic::new(connection, self.clock.clone(), Arc::clone(&self.metrics))?)
    }

    fn sessions(&self, config: &Config, mosaic: &Mosaic) -> Result<Arc<Sessions>, Error> {
        let parts = session::Parts {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            mosaic: mosaic.clone(),
            plan: Plan::new(&config.identity_headers)?,
            jar: Jar::new(config.public_url.is_secure()),
            tasks: self.tasks.clone(),
        };
        Ok(Sessions::new(parts, &config.session, admission(config)))
    }

    fn credentials(
        &self,
        config: &Config,
        mosaic: &Mosaic,
        sessions: &Arc<Sessions>,
    ) -> Result<Arc<Credentials>, Error> {
        Ok(Credentials::new(credential::Parts {
            sessions: Arc::clone(sessions),
            personal_tokens: self.personal_tokens(config),
            mosaic: mosaic.clone(),
            plan: Plan::new(&config.identity_headers)?,
            clock: self.clock.clone(),
            tasks: self.tasks.clone(),
        }))
    }

    fn assertions(&self, config: &Config) -> Arc<Assertions> {
        Assertions::new(&self.store, &self.clock, &self.tasks, &config.public_url, &config.assertion)
    }

    fn terms(&self, config: &Config, demo: Option<&Demo>) -> Result<Arc<Terms>, Error> {
        if let Some(demo) = demo {
            self.upstreams.demo_at(demo.address());
        }
        Ok(Arc::new(terms(config, &self.upstreams)?))
    }

    /// What they know is in the store, so that each part may have its own.
    fn personal_tokens(&self, config: &Config) -> Arc<PersonalTokens> {
        PersonalTokens::new(Arc::clone(&self.store), self.clock.clone(), &config.personal_tokens)
    }

    fn portal(
        &self,
        config: &Config,
        pages: &Arc<Pages>,
        mosaic: &Mosaic,
        sessions: &Arc<Sessions>,
        terms: &Arc<Terms>,
        assertions: &Arc<Assertions>,
    ) -> Result<Arc<Portal>, Error> {
        let debug = DebugPage::of(config, terms, &self.grants)?;
        Ok(Portal::new(portal::Parts {
            personal_tokens: self.personal_tokens(config),
            token_routes: token_routes(config),
            access: self.access(config),
            post: self.post.clone(),
            hosts: hosts_of(config),
            pages: Arc::clone(pages),
            sessions: Arc::clone(sessions),
            store: Arc::clone(&self.store),
            assertions: Arc::clone(assertions),
            mosaic: mosaic.clone(),
            clock: self.clock.clone(),
            sign_in: config.sign_in.clone(),
            sign_up: config.sign_up.clone(),
            options: options(config),
            metrics: Arc::clone(&self.metrics),
            tasks: self.tasks.clone(),
            debug: debug.map(|page| Arc::new(page) as Arc<dyn Explain>),
        }))
    }

    /// What asking for access takes, where a route has owners and there is a way to write to them.
    fn access(&self, config: &Config) -> Option<Access> {
        let (owned, post) = (owned_routes(config), self.post.clone()?);
        let requests = Requests::new(Arc::clone(&self.store), self.clock.clone());
        (!owned.is_empty()).then(|| Access { owned, requests, grants: Arc::clone(&self.grants), post })
    }

    /// Sessions that are replaced hear of nothing any more. Only requests that had begun still ask them.
    fn listen_for_ends(&self, sessions: &Arc<Sessions>) -> Arc<Background> {
        let sessions = Arc::clone(sessions);
        let listen = move || Arc::clone(&sessions).listen();
        Background::spawn(keep_listening("sessions", listen, self.closing.clone()))
    }

    /// Likewise for credentials.
    fn listen_for_revocations(&self, credentials: &Arc<Credentials>) -> Arc<Background> {
        let credentials = Arc::clone(credentials);
        let listen = move || {
            let credentials = Arc::clone(&credentials);
            async move { credentials.listen().await }
        };
        Background::spawn(keep_listening("personal tokens", listen, self.closing.clone()))
    }

    fn watch_readiness(&self, mosaic: &Mosaic) -> Arc<Background> {
        let (readiness, store) = (self.readiness.clone(), Arc::clone(&self.store));
        Background::spawn(watch_readiness(readiness, store, mosaic.clone(), self.closing.clone()))
    }
}

/// What requests are judged by, with upstreams out of `upstreams`.
///
/// # Errors
/// When a route or a header of one's own cannot be used.
pub(super) fn terms(config: &Config, upstreams: &Upstreams) -> Result<Terms, Error> {
    Ok(Terms {
        public_url: config.public_url.clone(),
        routes: Table::new(&config.route, &config.public_url, upstreams)?,
        managed: Managed::new(&Plan::new(&config.identity_headers)?),
        limits: config.limits.clone(),
        oauth2_proxy_paths: config.oauth2_proxy_paths,
        assertion_header: config.assertion.preset.header(),
        trusted_proxies: config.trusted_proxies.clone(),
    })
}

/// Who may have a session.
pub(super) fn admission(config: &Config) -> Admission {
    Admission { allow: config.sign_in.allow.clone(), identifier: config.sign_in.identifier.clone() }
}

fn tls_of(config: &Config) -> Result<Option<Arc<tls::Server>>, Error> {
    Ok(config.tls.as_ref().map(tls::Config::server).transpose()?.map(Arc::new))
}

/// The names of the routes that take tokens, each once.
fn token_routes(config: &Config) -> Vec<String> {
    let routes = config.route.iter().filter(|route| route.bearer);
    let names: BTreeSet<String> = routes.map(|route| route.name(&config.public_url.host)).collect();
    names.into_iter().collect()
}

/// The routes that have owners. Routes of one name, which differ in their methods, are one to them.
fn owned_routes(config: &Config) -> Vec<Owned> {
    let mut owned: BTreeMap<String, Vec<EmailAddress>> = BTreeMap::new();
    for route in config.route.iter().filter(|route| !route.owners.is_empty()) {
        let owners = owned.entry(route.name(&config.public_url.host)).or_default();
        let others: Vec<_> = route.owners.iter().filter(|owner| !owners.contains(owner)).cloned().collect();
        owners.extend(others);
    }
    owned.into_iter().map(|(route, owners)| Owned { route, owners }).collect()
}

/// Every host that is served.
fn hosts_of(config: &Config) -> Hosts {
    Hosts::new(&config.public_url, config.route.iter().filter_map(|route| route.host.as_deref()))
}

fn wants_demo(config: &Config) -> bool {
    let is_demo = |Servers(servers): &Servers| servers.iter().any(|server| server.url == UpstreamUrl::Demo);
    config.route.iter().filter_map(|route| route.upstream.as_ref()).any(is_demo)
}

/// The claims that headers and rules need beyond the usual ones.
fn claims_wanted(config: &Config) -> ClaimsRequest {
    let rules = config.route.iter().flat_map(route::Config::rules);
    let mut wanted: Vec<ClaimPath> = rules.flat_map(Rule::needed_claims).collect();
    wanted.extend(config.identity_headers.extra.values().cloned());
    if config.sign_in.identifier == IdentifierKind::PhoneNumber {
        wanted.extend(
            ["phone_number", "phone_number_verified"].map(str::to_owned).map(ClaimPath::try_from).into_iter().flatten(),
        );
    }
    ClaimsRequest::new(&wanted)
}

/// What the portal does otherwise before Mosaic than before the built-in issuer, whose mails have the gateway's texts
/// by themselves and bring a code beside the link.
fn options(config: &Config) -> portal::Options {
    let Some(mosaic) = &config.mosaic else {
        return portal::Options { code_comes_with_link: true, ..portal::Options::default() };
    };
    portal::Options {
        organizations: Organizations {
            fixed: mosaic.organization.clone(),
            by_host: mosaic.organization_by_host.clone(),
            from_link: mosaic.organization_from_link,
        },
        device_ids: mosaic.device_ids,
        own_mail_texts: mosaic.email_template == EmailTemplate::Gateway,
        ..portal::Options::default()
    }
}

/// Hears of what other instances did to `what`, until told to stop; without the store that waits, and what is in memory is
/// soon not believed.
pub(super) async fn keep_listening<F, Heard>(what: &'static str, listen: F, mut stopping: watch::Receiver<bool>)
where
    F: Fn() -> Heard,
    Heard: Future<Output = Result<(), store::Error>>,
{
    loop {
        let heard = tokio::select! {
            heard = listen() => heard,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        if let Err(error) = heard {
            tracing::debug!(what, error = %Chain(&error), "failed to listen for what others did");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Asks now and then whether the store and Mosaic answer.
async fn watch_readiness(readiness: Readiness, store: Shared, mosaic: Mosaic, mut stopping: watch::Receiver<bool>) {
    let mut retry = RETRY;
    loop {
        let stored = store.get("readiness").await.map(drop);
        readiness.set("store", stored.map_err(|error| Chain(&error).to_string()));
        let probed = mosaic.probe().await;
        let ready = probed.is_ok();
        readiness.set("mosaic", probed.map_err(|error| Chain(&error).to_string()));
        let limited = mosaic
            .links_are_paused()
            .map(|left| format!("too many links for Mosaic: it wants none for {} seconds more", left.as_secs().max(1)));
        readiness.warn("mosaic", limited);
        let pause = if ready { READINESS } else { retry };
        retry = if ready { RETRY } else { (retry * 2).min(LONGEST_RETRY) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}
