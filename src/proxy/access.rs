//! May this visitor pass? A pure function of the route, the request, the session and the moment: no I/O, so it can be
//! tested, explained and reused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use super::canonical::CanonicalPath;
use super::route::Route;
use crate::clock::Timestamp;
use crate::credential::Visitor;
use crate::grant::Grant;
use crate::identity::Identity;

mod claim;
mod hours;
mod policy;
mod public;
mod rule;

pub use claim::{ClaimTest, Part};
pub use hours::{BadTimeOfDay, Hours, TimeOfDay};
pub use policy::{Judgement, Mode, Objection, Opening, Policy, Reason, Told};
pub use public::{BadMethod, BadPublicPath, PublicMethod, PublicPath, PublicRule};
pub use rule::Rule;

/// `route.access`: whom the route asks to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nobody, and the upstream is told of nobody.
    Public,
    /// Nobody, and the upstream is told who is signed in.
    Optional,
    /// Everybody.
    #[default]
    SignedIn,
}

/// What is known of a request when it is decided about, beside its visitor.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, as the upstream would get it.
    pub path: &'a CanonicalPath,
    /// The visitor's address.
    pub client: IpAddr,
    /// The moment.
    pub now: Timestamp,
}

/// Somebody who is signed in, as rules see them.
#[derive(Clone, Copy)]
pub struct Who<'a>(Known<'a>);

#[derive(Clone, Copy)]
enum Known<'a> {
    Visitor(&'a Visitor),
    Supposed(&'a Identity, Timestamp),
}

impl<'a> Who<'a> {
    /// A visitor.
    pub const fn of(visitor: &'a Visitor) -> Self {
        Self(Known::Visitor(visitor))
    }

    /// Somebody who proved at `signed_in_at` who they are.
    pub const fn supposed(identity: &'a Identity, signed_in_at: Timestamp) -> Self {
        Self(Known::Supposed(identity, signed_in_at))
    }

    /// Who they are. A session is not asked for that where no rule wants to know.
    pub fn identity(self) -> &'a Identity {
        match self.0 {
            Known::Visitor(visitor) => visitor.identity(),
            Known::Supposed(identity, _) => identity,
        }
    }

    /// When they last proved it.
    pub fn signed_in_at(self) -> Timestamp {
        match self.0 {
            Known::Visitor(visitor) => visitor.signed_in_at(),
            Known::Supposed(_, signed_in_at) => signed_in_at,
        }
    }
}

/// Leave to pass, for one request to one upstream. Only [`decide`] makes it, and forwarding takes it by value.
pub struct Pass {
    route: Arc<Route>,
    visitor: Option<Visitor>,
    access: Access,
    observed: Option<Objection>,
    granted: Option<Arc<Grant>>,
}

impl Pass {
    /// The route that was decided for.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whether everybody gets the same, so that the answer is nobody's own.
    pub fn is_public(&self) -> bool {
        self.access == Access::Public
    }

    /// The visitor whose identity the upstream is told.
    pub const fn visitor(&self) -> Option<&Visitor> {
        self.visitor.as_ref()
    }

    /// Whether the upstream is told who the visitor is by a signed assertion too.
    pub fn wants_assertion(&self) -> bool {
        self.route.assertion && self.visitor.is_some()
    }

    /// What the rules object to, where the route only observes what they say.
    pub fn observed(&self) -> Option<Objection> {
        self.observed
    }

    /// The grant without which the rules would keep the visitor out.
    pub const fn granted(&self) -> Option<&Arc<Grant>> {
        self.granted.as_ref()
    }
}

/// The decision.
pub enum Verdict {
    /// The request goes on.
    Pass(Pass),
    /// The visitor must sign in first.
    SignIn,
    /// The visitor must sign in once more: it was longer ago than this.
    StepUp(Objection, Duration),
    /// The visitor may not.
    Refuse(Objection),
}

/// Decides. `visitor` is signed in, and `grant` is what is known to be granted: it counts as an allow rule, where it is
/// this visitor's for this route.
pub fn decide(route: &Arc<Route>, facts: &Facts<'_>, visitor: Option<Visitor>, grant: Option<Arc<Grant>>) -> Verdict {
    let access = route.policy.access_to(facts.method, facts.path);
    let visitor = visitor.filter(|_| access != Access::Public);
    let pass = |visitor, observed, granted| {
        Verdict::Pass(Pass { route: Arc::clone(route), visitor, access, observed, granted })
    };
    let who = visitor.as_ref().map(Who::of);
    match route.policy.judge(access, facts.client, who, facts.now) {
        Judgement::Pass(observed) => pass(visitor, observed, None),
        Judgement::SignIn => Verdict::SignIn,
        Judgement::StepUp(objection, max_age) => Verdict::StepUp(objection, max_age),
        Judgement::Refuse(objection) => {
            let address = visitor.as_ref().and_then(|visitor| visitor.identity().proven_address());
            let admits =
                |grant: &Arc<Grant>| address.is_some_and(|address| grant.admits(address, &route.name, facts.now));
            match grant.filter(admits) {
                Some(grant) if objection.reason.yields_to_grants() => pass(visitor, None, Some(grant)),
                _ => Verdict::Refuse(objection),
            }
        }
    }
}
