//! The checks of `[[route]]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

use super::{Check, Purpose};
use crate::origin::{Authority, Origin};
use crate::proxy::route::Config;
use crate::proxy::upstream::Upstream;

impl Check<'_> {
    pub(super) fn routes(&mut self) {
        let (settings, places) = (self.settings, self.places);
        if settings.route.is_empty() && !self.is_broken("route") && self.purpose == Purpose::Gateway {
            let application = "name your application: `[[route]]` and below it `upstream = \"http://127.0.0.1:3000\"`";
            let is_alone = settings.issuer.as_ref().is_some_and(|issuer| !issuer.0.client.is_empty());
            let hint = if is_alone { ", or check a file for `linkgate issuer` with `--issuer`" } else { "" };
            self.refuse("route", "is missing", &format!("{application}{hint}"));
        }
        let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
        for (at, spanned) in settings.route.iter().enumerate() {
            let (route, span) = (&spanned.get_ref().0, spanned.span());
            let key = places.element("route", &span).map_or_else(|| format!("route[{at}]"), str::to_owned);
            let (host, path) = (self.host(&key, route), self.path(&key, route));
            self.upstream(&key, route);
            self.access(&key, route);
            let (Some(host), Some(path)) = (host, path) else { continue };
            if let Some(first) = seen.get(&(host.clone(), path.clone())) {
                let line = places.line(first).map(|line| format!(" in line {line}")).unwrap_or_default();
                let message = format!("serves the same host and path as {first}{line}");
                self.refuse(&format!("{key}.path"), message, "give one of the two another `path`");
            } else {
                seen.insert((host, path), key);
            }
        }
    }

    /// The host in the form that requests are compared with; `None` when it is wrong or unknown.
    fn host(&mut self, route: &str, config: &Config) -> Option<String> {
        let public_host = self.settings.public_url.as_ref().map(|url| url.host.clone());
        let Some(host) = &config.host else {
            return if self.lacks(&format!("{route}.host")) { public_host } else { None };
        };
        let key = format!("{route}.host");
        let Some(authority) = Authority::parse(host) else {
            let hint = match Host::parse(host) {
                Ok(ascii) if !host.contains('*') && ascii.to_string() != *host => format!("write it as \"{ascii}\""),
                _ => "write one host name, like \"app.example.com\"".to_owned(),
            };
            self.refuse(&key, "is not a host name", &hint);
            return None;
        };
        if authority.port.is_some() {
            let hint = format!("write it as \"{}\"", authority.host);
            self.refuse(&key, "has a port; the port is that of `public_url`", &hint);
            return None;
        }
        if authority.host != *host {
            let hint = format!("write it as \"{}\"", authority.host);
            self.refuse(&key, "is not in its plain form", &hint);
            return None;
        }
        if let Some(url) = self.settings.public_url.as_ref().filter(|url| !url.is_secure()) {
            let origin = Origin { host: authority.host.clone(), ..url.clone() };
            if !origin.is_loopback() {
                let message =
                    "is served over plain http://, as `public_url` is, which shows links and cookies to the network";
                let hint =
                    "name it below localhost, like \"wiki.localhost\", or set `public_url` to an https:// address";
                self.warn(&key, message, hint);
            }
        }
        Some(authority.host)
    }

    /// The path without a slash at its end; `None` when it is wrong.
    fn path(&mut self, route: &str, config: &Config) -> Option<String> {
        let key = format!("{route}.path");
        let Some(path) = &config.path else { return self.lacks(&key).then(String::new) };
        match wrong_path(path) {
            Some(message) => {
                self.refuse(&key, message, "");
                None
            }
            None => Some(path.strip_suffix('/').unwrap_or(path).to_owned()),
        }
    }

    fn upstream(&mut self, route: &str, config: &Config) {
        let key = format!("{route}.upstream");
        let Some(upstream) = &config.upstream else {
            if self.lacks(&key) {
                let hint = "name the application, like `upstream = \"http://127.0.0.1:3000\"`";
                self.refuse(&key, "is missing", hint);
            }
            return;
        };
        if upstream == "demo" {
            return;
        }
        let url =
            Url::parse(upstream).ok().filter(|_| upstream.starts_with("http://") || upstream.starts_with("https://"));
        let Some(url) = url else {
            return self.refuse(&key, "expected \"demo\" or a URL like \"http://127.0.0.1:3000\"", "");
        };
        let wrong = if !url.username().is_empty() || url.password().is_some() {
            Some("has a user name or password, which is not supported")
        } else if url.query().is_some() || url.fragment().is_some() {
            Some("has a query or fragment, which is not supported")
        } else if url.path() != "/" {
            Some("has a path, which is not supported: the application gets the visitor's path as it is")
        } else if reaches(&url, self.settings.listen) {
            Some("is the gateway itself: requests would go round in circles")
        } else if reaches(&url, self.settings.admin.0.listen) {
            Some("is the gateway's own `admin.listen`, which visitors must not reach")
        } else if Upstream::parse(upstream).is_err() {
            Some("is no address that can be connected to: name a host and a port from 1 to 65535")
        } else {
            None
        };
        if let Some(message) = wrong {
            self.refuse(&key, message, "");
        }
    }
}

/// Why `path` can never be the beginning of a request's canonical path.
fn wrong_path(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("must begin with `/`");
    }
    if path.contains(['?', '#', '%', '\\']) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("must be plain: printable ASCII characters, without blanks, `?`, `#`, `%` and `\\`");
    }
    if path.contains("//") || path.split('/').any(|segment| segment == "." || segment == "..") {
        return Some("must be plain, without `//`, `.` and `..`");
    }
    // In any case, because applications differ in whether case counts.
    let own = path.split('/').nth(1).is_some_and(|segment| segment.eq_ignore_ascii_case(".linkgate"));
    own.then_some("lies below /.linkgate, which is the gateway's own")
}

/// Whether a request to `url` arrives at `listener`, as far as can be told without asking DNS.
fn reaches(url: &Url, listener: SocketAddr) -> bool {
    if url.port_or_known_default() != Some(listener.port()) {
        return false;
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        // Either loopback address may be behind the name.
        Some(Host::Domain("localhost")) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(Host::Domain(_)) | None => return false,
    };
    // To connect to an unspecified address is to connect to this machine; to listen on one is to listen on all.
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    let is_any = address.is_unspecified() || listener.ip().is_unspecified();
    address == listener.ip() || (is_any && is_here(address) && is_here(listener.ip()))
}
