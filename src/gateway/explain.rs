//! Requests explained by gateway.toml alone: without a listener, the store or the network.

use std::sync::Arc;

use tokio::sync::watch;

use super::Error;
use super::parts::{admission, terms};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::credential::{By, Named, Visitor};
use crate::identity::Identity;
use crate::identity::headers::Plan;
use crate::proxy::Terms;
pub use crate::proxy::explain::{Cited, Explanation, Question};
use crate::proxy::upstream::Upstreams;
use crate::session::Admission;
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
    pub(super) fn of(config: &Config, terms: Arc<Terms>) -> Result<Self, Error> {
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
