//! What is served: everything about the proxy that comes from gateway.toml and can be replaced at once.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use ipnet::IpNet;

use super::headers::Managed;
use super::route::Table;
use super::{Limits, tls};
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
    /// Who says ahead of each connection where it is from.
    pub proxy_protocol: Vec<IpNet>,
    /// TLS, where the gateway ends it.
    pub tls: Option<Arc<tls::Server>>,
}

impl Site {
    /// Whether `address` is that of a proxy of ours.
    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Whether `address` is that of a balancer that speaks the PROXY protocol.
    pub(super) fn is_balancer(&self, address: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|network| network.contains(&address.to_canonical()))
    }

    pub(super) fn refuser<'a>(&'a self, request_id: &'a str, now: Timestamp) -> Refuser<'a> {
        Refuser { pages: &self.pages, public_url: &self.public_url, request_id, now }
    }
}
