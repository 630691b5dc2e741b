//! The checks of what a `[[route]]` says about its upstream, and about what is changed on the way there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::place::join;
use super::Check;
use super::mosaic::is_open_to_others;
use super::route::wrong_path;
use crate::identity::headers::Plan;
use crate::proxy::headers::Managed;
use crate::proxy::route::{Config, FieldChanges, FieldName};
use crate::proxy::upstream::MOST_RETRIES;
use crate::proxy::upstream::setting::{HealthSetting, ServerSetting, TlsSetting};
use crate::proxy::upstream::tls::Tls;
use crate::proxy::upstream::url::UpstreamUrl;

impl Check<'_> {
    pub(super) fn upstream(&mut self, route: &str, config: &Config) {
        let key = format!("{route}.upstream");
        let Some(servers) = &config.upstream else {
            if self.lacks(&key) {
                let hint = "name the application, like `upstream = \"http://127.0.0.1:3000\"`";
                self.refuse(&key, "is missing", hint);
            }
            return;
        };
        if servers.0.is_empty() && !self.is_broken(&key) {
            self.refuse(&key, "names no server", "name the application, like `upstream = \"http://127.0.0.1:3000\"`");
        }
        for (at, server) in servers.0.iter().enumerate() {
            self.server(&self.server_key(&key, at), server, &servers.0[..at]);
        }
        let is_for_front = servers.0.iter().any(|server| server.url == UpstreamUrl::FrontProxy);
        if is_for_front {
            self.front_proxy(route, config);
        }
        let is_demo = servers.0.iter().any(|server| server.url == UpstreamUrl::Demo);
        if config.http2 && is_demo {
            self.refuse(&format!("{route}.http2"), "the demo application speaks HTTP/1.1 only", "take it out");
        }
        if config.retries > MOST_RETRIES {
            self.refuse(&format!("{route}.retries"), format!("must be at most {MOST_RETRIES}"), "");
        }
        if let Some(tls) = &config.upstream_tls {
            let is_used = servers.0.iter().any(|server| server.url.is_tls());
            self.upstream_tls(&format!("{route}.upstream_tls"), tls, is_used);
        }
        if let Some(health) = &config.health {
            self.health(&format!("{route}.health"), health);
        }
    }

    /// A route that another proxy forwards: there is no server here to say anything about.
    fn front_proxy(&mut self, route: &str, config: &Config) {
        let key = format!("{route}.upstream");
        if config.upstream.as_ref().is_some_and(|servers| servers.0.len() > 1) {
            self.refuse(&key, "names servers beside \"front-proxy\"", "name either the one or the others");
        }
        if config.health.is_some() {
            self.refuse(&format!("{route}.health"), "is for servers, and \"front-proxy\" is none", "take it out");
        }
        if config.cors.is_some() {
            let message = "is for answers that pass here, and those of this route do not";
            self.refuse(&format!("{route}.cors"), message, "take it out, and let the application or that proxy say it");
        }
        if self.settings.trusted_proxies.is_empty() {
            let message = "is forwarded by another proxy, and no proxy may ask: `trusted_proxies` names none";
            self.warn(&key, message, "name the address of the proxy, like `trusted_proxies = [\"127.0.0.1/32\"]`");
        }
    }

    /// The place of a server: its own in a list, or that of the setting.
    fn server_key(&self, upstream: &str, at: usize) -> String {
        let element = format!("{upstream}[{at}]");
        if self.places.has(&element) { element } else { upstream.to_owned() }
    }

    fn server(&mut self, key: &str, server: &ServerSetting, before: &[ServerSetting]) {
        let wrong = if reaches(&server.url, self.settings.listen) {
            "is the gateway itself: requests would go round in circles"
        } else if reaches(&server.url, self.settings.admin.0.listen) {
            "is the gateway's own `admin.listen`, which visitors must not reach"
        } else if before.iter().any(|other| other.url == server.url) {
            "is named twice; give it a `weight` for a larger share"
        } else {
            return;
        };
        self.refuse(key, wrong, "");
    }

    fn upstream_tls(&mut self, key: &str, tls: &TlsSetting, is_used: bool) {
        if !is_used && !self.is_broken(key) {
            self.refuse(key, "is for `https://` upstreams, and this one is none", "take it out");
        }
        if let Err(bad) = Tls::read(tls, self.directory) {
            self.refuse(&format!("{key}.{}", bad.setting), bad.cause.to_string(), "");
        }
        if !tls.verify {
            let message = "anybody on the way can pretend to be the application and read what it is sent";
            let hint = "name its authority in `certificate_authority_file` instead";
            self.warn(&format!("{key}.verify"), message, hint);
            if tls.certificate_authority_file.is_some() {
                let message = "is never asked, because `verify` is false";
                self.refuse(&format!("{key}.certificate_authority_file"), message, "take one of the two out");
            }
        }
        let private = tls.certificate_key_file.as_ref().map(|file| self.directory.join(file));
        if private.is_some_and(|file| is_open_to_others(&file)) {
            let message = "other users of this machine can read or change the private key";
            self.warn(&format!("{key}.certificate_key_file"), message, "chmod 600 the file");
        }
    }

    fn health(&mut self, key: &str, health: &HealthSetting) {
        for (name, number) in [("healthy_after", health.healthy_after), ("unhealthy_after", health.unhealthy_after)] {
            if number == 0 {
                self.refuse(&format!("{key}.{name}"), "must be more than 0", "");
            }
        }
        if let Some(at) = health.status.iter().position(|status| !(200..=599).contains(status)) {
            self.refuse(&format!("{key}.status[{at}]"), "is not the status of an answer, from 200 to 599", "");
        }
    }

    /// What is changed about the path and the fields.
    pub(super) fn rewriting(&mut self, route: &str, config: &Config) {
        if config.strip_prefix
            && matches!(config.path.as_deref(), None | Some("/"))
            && !self.is_broken(&format!("{route}.path"))
        {
            let message = "takes the `path` of the route off, and this one has none";
            self.refuse(&format!("{route}.strip_prefix"), message, "take it out, or add a `path`");
        }
        if let Some(message) = config.add_prefix.as_deref().and_then(wrong_path) {
            self.refuse(&format!("{route}.add_prefix"), message, "");
        }
        if config.body_bytes == Some(0) {
            self.refuse(&format!("{route}.body_bytes"), "must be more than 0", "");
        }
        let changes = [("request_headers", &config.request_headers), ("response_headers", &config.response_headers)];
        for (name, changes) in changes {
            if let Some(changes) = changes {
                self.changes(&format!("{route}.{name}"), changes);
            }
        }
    }

    fn changes(&mut self, key: &str, changes: &FieldChanges) {
        // Names that are none have a problem of their own.
        let plan = Plan::new(&self.settings.identity_headers.0).or_else(|_| Plan::new(&Default::default()));
        let Ok(managed) = plan.map(|plan| Managed::new(&plan)) else { return };
        let set = changes.set.keys().map(|field| (join(&format!("{key}.set"), field.written()), field));
        let removed = changes.remove.iter().enumerate().map(|(at, field)| (format!("{key}.remove[{at}]"), field));
        for (key, field) in set.chain(removed) {
            if let Some(message) = wrong_field(field, &managed) {
                self.refuse(&key, message, "");
            }
        }
        if let Some(at) = changes.remove.iter().position(|field| changes.set.contains_key(field)) {
            self.refuse(&format!("{key}.remove[{at}]"), "is set as well", "a field that is set needs no removing");
        }
    }
}

/// Why an operator may not change a field.
fn wrong_field(field: &FieldName, managed: &Managed) -> Option<&'static str> {
    // How a message is framed, and what holds for one connection only (RFC 9110 section 7.6.1).
    const FRAMING: [&str; 11] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    match field.as_str() {
        "host" => Some("is what `host_header` is for"),
        name if FRAMING.contains(&name) => Some("belongs to the connection, which the gateway sees to"),
        name if managed.manages(name) => Some("is a field of the gateway's own, which nobody else may write"),
        _ => None,
    }
}

/// Whether a request to `url` arrives at `listener`, as far as can be told without asking DNS.
fn reaches(url: &UpstreamUrl, listener: SocketAddr) -> bool {
    let UpstreamUrl::Network { host, port, .. } = url else { return false };
    if *port != listener.port() {
        return false;
    }
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        // Either loopback address may be behind the name.
        Err(_) if host == "localhost" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Err(_) => return false,
    };
    // To connect to an unspecified address is to connect to this machine; to listen on one is to listen on all.
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    let is_any = address.is_unspecified() || listener.ip().is_unspecified();
    address == listener.ip() || (is_any && is_here(address) && is_here(listener.ip()))
}
