//! May this visitor pass? A pure function of the route, the session and the moment: no I/O, so it can be
//! tested, explained and reused.

use std::sync::Arc;

use super::route::Route;
use crate::session::Live;

mod rule;

pub use rule::Allow;

/// Who may pass a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, and the upstream is told of nobody.
    Public,
    /// Everybody, with their identity if they are signed in.
    Optional,
    /// Those who are signed in and whom the rule names.
    SignedIn(Allow),
}

/// Leave to pass, for one request to one upstream. Only [`decide`] makes it, and forwarding takes it by value.
pub struct Pass {
    route: Arc<Route>,
    visitor: Option<Arc<Live>>,
}

impl Pass {
    /// The route that was decided for.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Whether the visitor would get it again, as they are now.
    pub fn holds_for(&self, visitor: &Arc<Live>) -> bool {
        matches!(decide(&self.route, Some(Arc::clone(visitor))), Verdict::Pass(_))
    }

    /// The visitor whose identity the upstream is told.
    pub fn visitor(&self) -> Option<&Live> {
        self.visitor.as_deref()
    }
}

/// The decision.
pub enum Verdict {
    /// The request goes on.
    Pass(Pass),
    /// The visitor must sign in first.
    SignIn,
    /// The visitor is signed in, and may not.
    Refuse,
}

/// Decides. `visitor` is a session that was found not to be over.
pub fn decide(route: &Arc<Route>, visitor: Option<Arc<Live>>) -> Verdict {
    let pass = |visitor| Verdict::Pass(Pass { route: Arc::clone(route), visitor });
    match (&route.access, visitor) {
        (Access::Public, _) => pass(None),
        (Access::Optional, visitor) => pass(visitor),
        (Access::SignedIn(_), None) => Verdict::SignIn,
        (Access::SignedIn(allow), Some(visitor)) if allow.names(&visitor.session().identity) => pass(Some(visitor)),
        (Access::SignedIn(_), Some(_)) => Verdict::Refuse,
    }
}
