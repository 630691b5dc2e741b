//! What requests are judged by: everything about a decision that comes from gateway.toml.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;

use super::Limits;
use super::access::Pass;
use super::decision::Target;
use super::edge::Remembered;
use super::headers::{self, Managed, Provenance};
use super::route::{HostHeader, Route, Table};
use super::tls::ClientCertificate;
use crate::credential::Visitor;
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
    /// What carries the assertion.
    pub assertion_header: HeaderName,
    /// Whose word about a visitor's address counts.
    pub trusted_proxies: Vec<IpNet>,
}

impl Terms {
    /// Whether `address` is that of a proxy of ours.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The limit of a request body: that of the route, or else of all.
    pub(super) fn most_body_bytes(&self, route: &Route) -> Option<u64> {
        route.body_bytes.or(self.limits.body_bytes)
    }

    /// Makes the header fields of a request that may pass what the upstream gets.
    pub(super) fn write_headers(
        &self,
        request: &mut RequestHeader,
        pass: &Pass,
        target: &Target,
        source: &Source<'_>,
    ) -> pingora::Result<()> {
        let route = pass.route();
        let remembered = target.remembered.as_ref();
        let session = pass.visitor().and_then(Visitor::session);
        let is_theirs = |remembered: &&Arc<Remembered>| session.is_some_and(|live| Arc::ptr_eq(live, &remembered.live));
        let provenance = Provenance {
            client: source.client,
            client_text: remembered
                .and_then(|remembered| remembered.client.as_ref())
                .and_then(|(client, text)| (*client == source.client).then_some(text)),
            scheme: HeaderValue::from_static(self.public_url.scheme.as_str()),
            authority: &target.authority,
            host: match &route.host_header {
                HostHeader::Keep => None,
                HostHeader::Upstream => source.server,
                HostHeader::Named(host) => Some(host),
            },
            request_id: source.request_id,
            certificate: source.certificate,
            assertion: source.assertion,
            identity: remembered.filter(is_theirs).map(|remembered| &*remembered.identity),
            cookies: remembered.map(|remembered| (&*remembered.cookies, remembered.others.as_ref())),
        };
        headers::write(request, &self.managed, pass, &provenance)
    }
}

/// What is known of a request's way, beyond the request.
pub(super) struct Source<'a> {
    /// The visitor's address.
    pub(super) client: IpAddr,
    /// Host and port of the server that it goes to.
    pub(super) server: Option<&'a HeaderValue>,
    /// The name of the request in every log.
    pub(super) request_id: &'a HeaderValue,
    /// What the visitor showed in TLS.
    pub(super) certificate: Option<&'a ClientCertificate>,
    /// The signed assertion, and the name that it goes out under.
    pub(super) assertion: Option<&'a (HeaderName, HeaderValue)>,
}
