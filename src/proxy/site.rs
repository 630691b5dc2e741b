//! What is served: everything about the proxy that comes from gateway.toml and can be replaced at once.

use std::sync::Arc;

use axum::Router;
use ipnet::IpNet;

use super::Limits;
use super::headers::Managed;
use super::route::Table;
use crate::clock::Timestamp;
use crate::origin::Origin;
use crate::pages::Pages;
use crate::portal::answer::Refuser;
use crate::session::Sessions;

/// Hosts, routes and rules, with the pages and sessions that go with them.
pub struct Site {
    /// Where visitors reach the gateway.
    pub public_url: Origin,
    /// Where requests may go.
    pub routes: Table,
    /// Names that only the gateway writes.
    pub managed: Managed,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// Everything under `/.linkgate/`.
    pub portal: Router,
    /// The pages.
    pub pages: Arc<Pages>,
    /// `[limits]`
    pub limits: Limits,
    /// Whose word about a visitor's address counts.
    pub trusted_proxies: Vec<IpNet>,
}

impl Site {
    pub(super) fn refuser<'a>(&'a self, request_id: &'a str, now: Timestamp) -> Refuser<'a> {
        Refuser { pages: &self.pages, public_url: &self.public_url, request_id, now }
    }
}
