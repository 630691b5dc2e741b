//! What the rules of a route have against a request: it is counted and logged, whether it is refused or passes on trial.

use std::sync::Arc;

use super::access::{Objection, Pass, Told};
use super::decision::Target;
use super::route::Route;
use crate::clock::Timestamp;
use crate::credential::Visitor;
use crate::identity::Subject;
use crate::session::refusals::Refused;
use crate::telemetry::Metrics;

/// An objection, with what it is about.
pub(super) struct Objected {
    route: Arc<Route>,
    objection: Objection,
    visitor: Option<Visitor>,
    passed: bool,
}

impl Objected {
    /// The request is refused.
    pub(super) const fn refused(route: Arc<Route>, objection: Objection, visitor: Option<Visitor>) -> Self {
        Self { route, objection, visitor, passed: false }
    }

    /// The request passes, and there is an objection all the same.
    pub(super) fn observed(pass: &Pass) -> Option<Self> {
        let (route, visitor) = (Arc::clone(pass.route()), pass.visitor().cloned());
        pass.observed().map(|objection| Self { route, objection, visitor, passed: true })
    }

    /// Counts and logs it.
    pub(super) fn note(&self, request_id: &str, metrics: &Metrics) {
        let message = if self.passed {
            metrics.rules_observed(self.route(), self.reason());
            "let pass what a rule would refuse"
        } else {
            metrics.rules_refused(self.route(), self.reason());
            "refused a request by a rule"
        };
        tracing::info!(
            request.id = request_id,
            route = self.route(),
            subject = self.subject().map(tracing::field::display),
            reason = self.reason(),
            rule = self.rule(),
            "{message}"
        );
    }

    /// Keeps it for the debug page, where there is a session to keep it with.
    pub(super) fn remember(&self, target: &Target, verdict: &'static str, request_id: &str, at: Timestamp) {
        let Some(live) = self.visitor().and_then(Visitor::session) else { return };
        let address = format!("{}{}", target.authority, target.path.as_str());
        let (reason, request_id) = (self.reason(), request_id.to_owned());
        live.refusals().note(Refused { at, address, verdict, reason, request_id });
    }

    pub(super) fn route(&self) -> &str {
        &self.route.name
    }

    pub(super) fn of_route(&self) -> &Route {
        &self.route
    }

    pub(super) const fn objection(&self) -> Objection {
        self.objection
    }

    pub(super) const fn reason(&self) -> &'static str {
        self.objection.reason.code()
    }

    pub(super) const fn rule(&self) -> Option<usize> {
        self.objection.rule
    }

    /// Whether the visitor can ask the owners of the route for a grant: it is a person with an address of their own, and
    /// one more rule would let them pass.
    pub(super) fn may_ask(&self) -> bool {
        let is_known =
            self.visitor().is_some_and(|it| it.session().is_some() && it.identity().proven_address().is_some());
        self.route.has_owners && is_known && self.objection.reason.yields_to_grants()
    }

    pub(super) const fn visitor(&self) -> Option<&Visitor> {
        self.visitor.as_ref()
    }

    pub(super) fn subject(&self) -> Option<Subject> {
        self.visitor().map(Visitor::subject)
    }

    /// What the visitor is told.
    pub(super) fn told(&self) -> Told<'_> {
        self.route.policy.told(self.objection)
    }
}
