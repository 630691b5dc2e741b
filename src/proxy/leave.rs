//! Leave to pass, with the request that it was given for: it is asked for again for as long as the request lasts.

use std::net::IpAddr;

use http::Method;

use super::Site;
use super::access::{self, Facts, Pass, Verdict};
use super::decision::Target;
use super::route::Found;
use crate::clock::Timestamp;
use crate::credential::Visitor;

/// A request that goes on to an upstream, and why it may.
pub(super) struct Leave {
    pub(super) pass: Pass,
    target: Target,
    method: Method,
    client: IpAddr,
}

impl Leave {
    pub(super) fn new(pass: Pass, target: Target, method: Method, client: IpAddr) -> Self {
        Self { pass, target, method, client }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it would be given again at `now`, by what `site` serves, to the visitor as they are by then.
    pub(super) fn holds(&self, site: &Site, visitor: Option<Visitor>, now: Timestamp) -> bool {
        let facts = Facts { method: &self.method, path: &self.target.path, client: self.client, now };
        let Found::Route(route) = site.terms.routes.find(&self.target.host, &self.target.path, &self.method) else {
            return false;
        };
        matches!(access::decide(route, &facts, visitor), Verdict::Pass(_))
    }
}
