//! The checks of `[[route]]`.

use std::collections::BTreeMap;

use url::Host;

use super::{Check, Purpose};
use crate::origin::{Authority, Origin};
use crate::proxy::cors::CorsOrigin;
use crate::proxy::route::{Config, HostPattern, RouteMethod};

impl Check<'_> {
    pub(super) fn routes(&mut self) {
        let (settings, places) = (self.settings, self.places);
        if settings.route.is_empty() && !self.is_broken("route") && self.purpose != Purpose::IssuerAlone {
            let application = "name your application: `[[route]]` and below it `upstream = \"http://127.0.0.1:3000\"`";
            let is_alone = settings.issuer.as_ref().is_some_and(|issuer| !issuer.0.client.is_empty());
            let hint = if is_alone { ", or check a file for `linkgate issuer` with `--issuer`" } else { "" };
            self.refuse("route", "is missing", &format!("{application}{hint}"));
        }
        let mut seen = BTreeMap::new();
        for (at, spanned) in settings.route.iter().enumerate() {
            let (route, span) = (&spanned.get_ref().0, spanned.span());
            let key = places.element("route", &span).map_or_else(|| format!("route[{at}]"), str::to_owned);
            let (host, path) = (self.host(&key, route), self.path(&key, route));
            self.methods(&key, route);
            self.upstream(&key, route);
            self.rewriting(&key, route);
            self.access(&key, route);
            self.cors(&key, route);
            let (Some(host), Some(path)) = (host, path) else { continue };
            let others: &mut Vec<(String, Option<&[RouteMethod]>)> = seen.entry((host, path)).or_default();
            let methods = route.methods.as_deref();
            if let Some((first, served)) = others.iter().find(|(_, served)| overlap(*served, methods)) {
                let line = places.line(first).map(|line| format!(" in line {line}")).unwrap_or_default();
                let too = if served.is_some() { ", and one of its methods" } else { "" };
                let message = format!("serves the same host and path as {first}{line}{too}");
                self.refuse(&format!("{key}.path"), message, "give one of the two another `path`, or other `methods`");
            } else {
                others.push((key, methods));
            }
        }
    }

    fn cors(&mut self, route: &str, config: &Config) {
        let Some(cors) = &config.cors else { return };
        let key = |name: &str| format!("{route}.cors.{name}");
        if cors.origins.is_empty() && !self.is_broken(&key("origins")) {
            let hint = "name it as browsers send it, like \"https://app.example.com\"";
            self.refuse(&key("origins"), "names no site", hint);
        }
        // Every site could read what is a visitor's own.
        if cors.credentials && cors.origins.contains(&CorsOrigin::Any) {
            let hint = "name the sites in `origins`, or take `credentials` out";
            self.refuse(&key("credentials"), "is not for every site there is", hint);
        }
    }

    fn methods(&mut self, route: &str, config: &Config) {
        let key = format!("{route}.methods");
        let Some(methods) = config.methods.as_deref().filter(|_| !self.is_broken(&key)) else { return };
        if methods.is_empty() {
            self.refuse(&key, "names no method, so that nothing is served", "leave it out to serve all of them");
        }
    }

    /// The host in the form that requests are compared with; `None` when it is wrong or unknown.
    fn host(&mut self, route: &str, config: &Config) -> Option<HostPattern> {
        let public_host = self.settings.public_url.as_ref().map(|url| url.host.clone());
        let Some(host) = &config.host else {
            let public_host = public_host.filter(|_| self.lacks(&format!("{route}.host")));
            return public_host.map(HostPattern::Exact);
        };
        let key = format!("{route}.host");
        let (star, name) = host.strip_prefix("*.").map_or(("", host.as_str()), |name| ("*.", name));
        let Some(authority) = Authority::parse(name) else {
            let hint = match Host::parse(name) {
                Ok(ascii) if !name.contains('*') && ascii.to_string() != *name => {
                    format!("write it as \"{star}{ascii}\"")
                }
                _ => "write one host name, like \"app.example.com\", or \"*.example.com\" for all below one".to_owned(),
            };
            self.refuse(&key, "is not a host name", &hint);
            return None;
        };
        if authority.port.is_some() {
            let hint = format!("write it as \"{star}{}\"", authority.host);
            self.refuse(&key, "has a port; the port is that of `public_url`", &hint);
            return None;
        }
        if authority.host != *name {
            let hint = format!("write it as \"{star}{}\"", authority.host);
            self.refuse(&key, "is not in its plain form", &hint);
            return None;
        }
        let Some(pattern) = HostPattern::parse(host) else {
            self.refuse(&key, "is an address, and there are no names below one", "name the address alone");
            return None;
        };
        if let Some(url) = self.settings.public_url.as_ref().filter(|url| !url.is_secure()) {
            let origin = Origin { host: authority.host, ..url.clone() };
            if !origin.is_loopback() {
                let message =
                    "is served over plain http://, as `public_url` is, which shows links and cookies to the network";
                let hint =
                    "name it below localhost, like \"wiki.localhost\", or set `public_url` to an https:// address";
                self.warn(&key, message, hint);
            }
        }
        Some(pattern)
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
}

/// Whether there is a method that both routes serve.
fn overlap(a: Option<&[RouteMethod]>, b: Option<&[RouteMethod]>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.iter().any(|method| b.contains(method)),
        // Who names a method comes before who names none.
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Why `path` can never be the beginning of a request's canonical path.
pub(super) fn wrong_path(path: &str) -> Option<&'static str> {
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
