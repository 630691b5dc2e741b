//! Requests explained by gateway.toml alone: without a listener, the store or the network.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method};
use tokio::sync::watch;

use super::Error;
use super::parts::{admission, terms};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::credential::{By, Named, Visitor};
use crate::grant::{self, Grants};
use crate::identity::headers::Plan;
use crate::identity::{AddressRule, Identity};
use crate::pages::Explained;
use crate::portal::debug::Explain;
use crate::proxy::Terms;
use crate::proxy::access::Reason;
pub use crate::proxy::explain::{Cited, Explanation, Granted, Question, split};
use crate::proxy::upstream::Upstreams;
use crate::session::{Admission, Chain, Live};
use crate::telemetry::Metrics;

/// Explains what becomes of requests by one configuration.
pub struct Explainer {
    config: Config,
    terms: Arc<Terms>,
    plan: Plan,
    admission: Admission,
}

impl Explainer {
    /// One that stands alone.
    ///
    /// # Errors
    /// When a route or a header of one's own cannot be used.
    pub fn new(config: &Config, clock: Clock) -> Result<Self, Error> {
        let mut quiet = config.clone();
        for route in &mut quiet.route {
            // Nobody's health is asked about.
            route.health = None;
        }
        let (_, stopping) = watch::channel(true);
        let upstreams = Upstreams::new(clock, Arc::new(Metrics::new()?), stopping);
        Self::of(config, Arc::new(terms(&quiet, &upstreams)?))
    }

    /// The one of the site that is served by `terms`.
    fn of(config: &Config, terms: Arc<Terms>) -> Result<Self, Error> {
        let plan = Plan::new(&config.identity_headers)?;
        Ok(Self { config: config.clone(), terms, plan, admission: admission(config) })
    }

    /// Somebody as they would be signed in; nobody where they could not be.
    pub fn suppose(&self, identity: Identity, signed_in_at: Timestamp) -> Option<Visitor> {
        if !self.admission.admits(&identity) {
            return None;
        }
        let headers = self.plan.headers(&identity);
        Some(Visitor::Named(Arc::new(Named { identity, signed_in_at, headers, by: By::Supposition })))
    }

    /// What would become of a request, with the lines of what decides.
    pub fn explain(&self, question: &Question) -> Explanation {
        let mut explanation = self.terms.explain(question);
        for cited in explanation.cited() {
            cited.line = self.config.line(&cited.key);
            cited.text = Some(&cited.key).filter(|key| key.contains('.')).and_then(|key| self.config.said(key));
        }
        explanation
    }
}

impl Explainer {
    /// The same with what is granted to the visitor, where that makes a difference.
    ///
    /// # Errors
    /// When the store cannot say what is.
    pub async fn explain_with(&self, question: &Question, grants: &Grants) -> Result<Explanation, grant::Unknown> {
        let explanation = self.explain(question);
        let address = question.visitor.as_ref().and_then(|visitor| visitor.identity().proven_address());
        let is_open = !explanation.is_observed && explanation.reason.is_some_and(Reason::yields_to_grants);
        let (Some(address), Some(route), true) = (address, &explanation.route, is_open) else {
            return Ok(explanation);
        };
        match grants.find(address, &route.name).await? {
            Some(grant) => Ok(self.explain(&Question { grant: Some(grant), ..question.clone() })),
            None => Ok(explanation),
        }
    }
}

/// What the debug page shows, and to whom.
pub(super) struct DebugPage {
    explainer: Explainer,
    grants: Arc<Grants>,
    /// Who may see it; everybody who is signed in where nobody is named.
    names: Vec<AddressRule>,
}

impl DebugPage {
    /// The page of a site, where the configuration names who may see it, or where nothing is at stake.
    pub(super) fn of(config: &Config, terms: &Arc<Terms>, grants: &Arc<Grants>) -> Result<Option<Self>, Error> {
        let names = config.debug_page.clone();
        let is_development = config.issuer.as_ref().is_some_and(|issuer| issuer.mailbox);
        if names.is_empty() && !is_development {
            return Ok(None);
        }
        Ok(Some(Self { explainer: Explainer::of(config, Arc::clone(terms))?, grants: Arc::clone(grants), names }))
    }
}

#[async_trait]
impl Explain for DebugPage {
    fn admits(&self, live: &Live) -> bool {
        let proven = live.identity().proven_address();
        self.names.is_empty() || proven.is_some_and(|address| self.names.iter().any(|name| name.names(address)))
    }

    async fn explain(&self, address: &str, live: &Arc<Live>, client: IpAddr, now: Timestamp) -> Option<Explained> {
        let (authority, target) = split(address)?;
        let question = Question {
            method: Method::GET,
            authority: authority.to_owned(),
            target,
            headers: HeaderMap::new(),
            peer: client,
            visitor: Some(Visitor::Session(Arc::clone(live))),
            grant: None,
            now,
        };
        let explanation = self.explainer.explain_with(&question, &self.grants).await.unwrap_or_else(|error| {
            tracing::warn!(error = %Chain(&error), "failed to look a grant up for the debug page");
            self.explainer.explain(&question)
        });
        Some(shown(explanation))
    }
}

fn shown(explanation: Explanation) -> Explained {
    let place = |cited: &Cited| match cited.line {
        Some(line) => format!("{}, line {line}", cited.key),
        None => cited.key.clone(),
    };
    let Explanation { client, path, route, verdict, status, reason, is_observed, rule, grant, forwarded, .. } =
        explanation;
    let (servers, target, fields) =
        forwarded.map(|forwarded| (forwarded.servers, forwarded.target, forwarded.headers)).unwrap_or_default();
    Explained {
        client: client.to_string(),
        path,
        route: route.as_ref().map(|route| format!("{} ({})", route.name, place(&route.place))),
        opened_by: route.and_then(|route| route.opened_by).as_ref().map(place),
        verdict,
        status,
        reason: reason.map(Reason::code),
        is_observed,
        rule: rule.as_ref().map(place),
        rule_text: rule.and_then(|rule| rule.text),
        grant: grant.map(|grant| format!("{}, {} – {}", grant.given_by, grant.given_at, grant.expires_at)),
        servers,
        target,
        fields,
    }
}
