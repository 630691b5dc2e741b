//! What requests are judged by: everything about a decision that comes from gateway.toml.

use ipnet::IpNet;

use super::Limits;
use super::headers::Managed;
use super::route::{Route, Table};
use crate::origin::Origin;

/// Hosts, routes and limits.
pub struct Terms {
    /// Where visitors reach the gateway.
    pub public_url: Origin,
    /// Where requests may go.
    pub routes: Table,
    /// Names that only the gateway writes.
    pub managed: Managed,
    /// `[limits]`
    pub limits: Limits,
    /// Whether the paths of oauth2-proxy are ours.
    pub oauth2_proxy_paths: bool,
    /// Whose word about a visitor's address counts.
    pub trusted_proxies: Vec<IpNet>,
}

impl Terms {
    /// The limit of a request body: that of the route, or else of all.
    pub(super) fn most_body_bytes(&self, route: &Route) -> Option<u64> {
        route.body_bytes.or(self.limits.body_bytes)
    }
}
