//! The checks of `[tls]`, and of what comes ahead of HTTP.

use super::{Check, Purpose, overlap};
use crate::origin::Scheme;
use crate::proxy::tls::{ClientCertificates, Config};

impl Check<'_> {
    pub(super) fn transport(&mut self) {
        for (at, network) in self.settings.proxy_protocol.iter().enumerate() {
            if network.prefix_len() == 0 {
                let message =
                    "lets every peer say where it is from, so any visitor can pretend to come from any address";
                self.warn(&format!("proxy_protocol[{at}]"), message, "name the addresses of your own balancers");
            }
        }
        let Some(tls) = &self.settings.tls else { return };
        let tls = &tls.0;
        if self.purpose == Purpose::IssuerAlone {
            return self.refuse("tls", "has no part in the issuer alone", "take it out, or see [issuer.tls]");
        }
        let public_url = self.settings.public_url.as_ref();
        if let Some(url) = public_url.filter(|url| url.scheme == Scheme::Http) {
            let hint = format!("write it as \"https://{}\", or take [tls] out", url.authority());
            self.refuse("public_url", "is plain http:// although there is [tls]", &hint);
        }
        if tls.client_certificates == ClientCertificates::Required && tls.client_authorities.is_none() {
            let hint = "name the PEM file of the authorities whose certificates count";
            self.refuse("tls.client_authorities", "is missing: `client_certificates` are required", hint);
        }
        if self.is_broken("tls") {
            return;
        }
        self.redirect_listener(tls);
        let problems = tls.problems(self.directory);
        for problem in &problems {
            self.refuse(&format!("tls.{}", problem.key), problem.reason.to_string(), "");
        }
        if problems.is_empty() {
            self.names(tls);
        }
    }

    fn redirect_listener(&mut self, tls: &Config) {
        let Some(address) = tls.redirect_from else { return };
        let settings = self.settings;
        for (name, other) in [("listen", settings.listen), ("admin.listen", settings.admin.0.listen)] {
            if overlap(address, other) {
                let hint = "give it another port, like 80";
                self.refuse("tls.redirect_from", format!("is the address of `{name}`, {other}"), hint);
            }
        }
    }

    /// Browsers refuse a certificate that is not for the host they asked for.
    fn names(&mut self, tls: &Config) {
        let names = tls.names(self.directory);
        let is_covered = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            let starred = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            names.iter().any(|name| name == host || Some(name) == starred.as_ref())
        };
        if let Some(url) = self.settings.public_url.as_ref().filter(|url| !is_covered(&url.host)) {
            let message = format!("no certificate is for {}, so browsers will refuse it", url.host);
            self.warn("tls.certificate", message, "get one that names the host of `public_url`");
        }
        for at in 0..self.settings.route.len() {
            let route = &self.settings.route[at].get_ref().0;
            if let Some(host) = route.host.as_deref().filter(|host| !is_covered(host)) {
                let message = format!("no certificate in [tls] is for {host}, so browsers will refuse it");
                let hint = format!("add one that names {host} to `[[tls.additional]]`");
                self.warn(&format!("route[{at}].host"), message, &hint);
            }
        }
    }
}
