//! What is served: everything about the proxy that comes from gateway.toml and can be replaced at once.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use http::HeaderValue;
use ipnet::IpNet;
use pingora::http::RequestHeader;

use super::{Terms, tls};
use crate::assertion::Assertions;
use crate::clock::Timestamp;
use crate::credential::Credentials;
use crate::grant::Grants;
use crate::origin::{Hosts, Origin};
use crate::pages::{Pages, Reader};
use crate::portal::answer::Refuser;
use crate::portal::language;
use crate::session::Place;
use crate::session::cookie::Jar;

/// Hosts, routes and rules, with the pages and sessions that go with them.
pub struct Site {
    /// What is served where, and to whom.
    pub terms: Arc<Terms>,
    /// Whatever a request can show.
    pub credentials: Arc<Credentials>,
    /// Who may pass a route whose rules do not name them.
    pub grants: Arc<Grants>,
    /// What upstreams can check about a visitor.
    pub assertions: Arc<Assertions>,
    /// Everything under `/.linkgate/` on the host of `public_url`.
    pub portal: Router,
    /// The same on the other hosts.
    pub portal_elsewhere: Router,
    /// Every host that is ours.
    pub hosts: Hosts,
    /// The pages.
    pub pages: Arc<Pages>,
    /// Who says ahead of each connection where it is from.
    pub proxy_protocol: Vec<IpNet>,
    /// What our pages may do, where there are several hosts.
    pub content_policy: Option<HeaderValue>,
    /// TLS, where the gateway ends it.
    pub tls: Option<Arc<tls::Server>>,
}

impl Site {
    /// Whether `address` is that of a proxy of ours.
    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        self.terms.trusts(address)
    }

    /// Whether `address` is that of a balancer that speaks the PROXY protocol.
    pub(super) fn is_balancer(&self, address: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// What refuses a visitor of `origin`.
    pub(super) fn refuser<'a>(
        &'a self,
        origin: &'a Origin,
        request_id: &'a str,
        reader: Reader,
        now: Timestamp,
    ) -> Refuser<'a> {
        Refuser { pages: &self.pages, origin, request_id, now, reader }
    }

    /// Who reads the answer to a request for `target`.
    pub(super) fn reader(&self, request: &RequestHeader, target: &str) -> Reader {
        let jar = Jar::new(self.terms.public_url.is_secure());
        language::reader(&self.pages, jar, &request.method, target, &request.headers)
    }

    /// Where the visitor of a host of ours is.
    pub(super) fn origin(&self, host: &str) -> Origin {
        Origin { host: host.to_owned(), ..self.terms.public_url.clone() }
    }

    /// Which host's cookies count.
    pub(super) fn place<'a>(&self, host: &'a str) -> Place<'a> {
        if host == self.terms.public_url.host { Place::Public } else { Place::Host(host) }
    }
}
