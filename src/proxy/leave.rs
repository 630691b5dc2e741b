//! Leave to pass, with the request that it was given for: it is asked for again for as long as the request lasts, and
//! withdrawn with a reason.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;

use super::Site;
use super::access::{self, Facts, Pass, Verdict};
use super::decision::Target;
use super::route::Found;
use super::stream::{Counted, End, Kind, Registry};
use crate::clock::Timestamp;
use crate::credential::Visitor;

/// A request that goes on to an upstream, and why it may.
pub(super) struct Leave {
    pub(super) pass: Pass,
    target: Target,
    method: Method,
    client: IpAddr,
    given_at: Timestamp,
    longest_silence: Option<Duration>,
    end: OnceLock<End>,
    told: Notify,
    kind: OnceLock<Kind>,
    counted: OnceLock<Counted>,
}

impl Leave {
    /// The upstream is given up by the edge after `longest_silence`, or not at all.
    pub(super) fn new(
        pass: Pass,
        target: Target,
        method: Method,
        client: IpAddr,
        now: Timestamp,
        longest_silence: Option<Duration>,
    ) -> Self {
        Self {
            pass,
            target,
            method,
            client,
            given_at: now,
            longest_silence,
            end: OnceLock::new(),
            told: Notify::const_new(),
            kind: OnceLock::new(),
            counted: OnceLock::new(),
        }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it would be given again at `now`, by what `site` serves, to the visitor as they are by then. Where the store
    /// cannot say whether a grant was ended, it goes on to its own end.
    ///
    /// # Errors
    /// Why it would not.
    pub(super) async fn holds(&self, site: &Site, visitor: Option<Visitor>, now: Timestamp) -> Result<(), End> {
        let facts = Facts { method: &self.method, path: &self.target.path, client: self.client, now };
        let Found::Route(route) = site.terms.routes.find(&self.target.host, &self.target.path, &self.method) else {
            return Err(End::NoAccess);
        };
        if route.max_stream_age.is_some_and(|most| now.since(self.given_at) >= most) {
            return Err(End::TooOld);
        }
        let objection = match access::decide(route, &facts, visitor.clone(), None) {
            Verdict::Pass(_) => return Ok(()),
            Verdict::SignIn | Verdict::StepUp(..) => return Err(End::NoAccess),
            Verdict::Refuse(objection) => objection,
        };
        let grant = site.grant(route, objection, visitor.as_ref()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to look the grant of an open request up");
            self.pass.granted().cloned()
        });
        match access::decide(route, &facts, visitor, grant) {
            Verdict::Pass(_) => Ok(()),
            Verdict::SignIn | Verdict::StepUp(..) | Verdict::Refuse(_) => Err(End::NoAccess),
        }
    }

    /// How long the upstream may be silent, where the edge sees to that.
    pub(super) const fn longest_silence(&self) -> Option<Duration> {
        self.longest_silence
    }

    /// Withdraws it, once.
    pub(super) fn withdraw(&self, end: End) {
        self.end.get_or_init(|| end);
        self.told.notify_waiters();
    }

    /// Why it was withdrawn, if it was.
    pub(super) fn end(&self) -> Option<End> {
        self.end.get().copied()
    }

    /// Returns once it is withdrawn.
    pub(super) async fn over(&self) {
        // Made ahead of the look, so that nothing comes between the two.
        let told = self.told.notified();
        if self.end().is_none() {
            told.await;
        }
    }

    /// Notes that the visitor's end of the request is a [`super::stream::VisitorsEnd`], which ends it by itself.
    pub(super) fn opens(&self, kind: Kind) {
        self.kind.get_or_init(|| kind);
    }

    /// Whether the visitor's end of the request ends it by itself.
    pub(super) fn ends_itself(&self) -> bool {
        self.kind.get().is_some()
    }

    /// Counts the request among the open streams, once.
    pub(super) fn lasts(&self, registry: &Registry) {
        let kind = self.kind.get().copied().unwrap_or(Kind::Other);
        self.counted.get_or_init(|| registry.enter(kind, self.pass.visitor()));
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let (Some(end), Some(counted)) = (self.end(), self.counted.get_mut()) {
            counted.ended(end);
        }
    }
}
