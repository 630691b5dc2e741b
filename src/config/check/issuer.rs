//! The checks of `[issuer]`: who may call it, where, and with what proof.

use std::collections::BTreeMap;

use super::mosaic::is_open_to_others;
use super::{Check, Purpose, overlap};
use crate::issuer::Config;
use crate::setting::Span;

/// The gateway's own client has that name.
const OWN_CLIENT: &str = "linkgate";

impl Check<'_> {
    pub(super) fn issuer(&mut self, issuer: &Config) {
        if !(Span::days(2).0..=Span::days(366).0).contains(&issuer.key_lifetime.0) && !self.is_broken("issuer") {
            self.refuse("issuer.key_lifetime", "must be between 2d and 366d", "30d suits most");
        }
        self.issuer_listener(issuer);
        if let Some(tls) = &issuer.tls
            && !self.is_broken("issuer.tls")
            && let Some(error) = tls.problem(self.directory)
        {
            self.refuse(&format!("issuer.tls.{}", error.key()), error.reason(), "");
        }
        let mut seen = BTreeMap::new();
        for (at, client) in issuer.client.iter().enumerate() {
            let key = format!("issuer.client[{at}]");
            if self.is_broken(&key) {
                continue;
            }
            self.client(&key, at, issuer);
            if let Some(first) = seen.insert(client.id.as_str(), key.clone()) {
                self.refuse(&format!("{key}.id"), format!("is also the name of {first}"), "give each client its own");
            }
        }
    }

    /// Where other programs call it: the listener of its own beside a gateway, `listen` when it is alone.
    fn issuer_listener(&mut self, issuer: &Config) {
        let settings = self.settings;
        let (key, listen) = match self.purpose {
            Purpose::Gateway | Purpose::Development => ("issuer.listen", issuer.listen),
            Purpose::IssuerAlone => {
                if issuer.listen.is_some() {
                    let hint = "take it out, and set `listen` at the top of the file";
                    self.refuse("issuer.listen", "is for the issuer of a gateway; alone it has `listen`", hint);
                }
                if issuer.client.is_empty() && !self.is_broken("issuer.client") {
                    let hint = "add an `[[issuer.client]]` for each program that may";
                    self.warn("issuer", "no program may call the issuer: it has no clients", hint);
                }
                ("listen", Some(settings.listen))
            }
        };
        let Some(listen) = listen else {
            if issuer.tls.is_some() {
                self.refuse("issuer.tls", "is for other programs, which have no way in", "set `issuer.listen`");
            } else if !issuer.client.is_empty() {
                let hint = "set `listen` in [issuer] to the address that they call";
                self.warn("issuer.client", "nobody but the gateway can reach the issuer", hint);
            }
            return;
        };
        if key == "issuer.listen" && !self.is_broken("listen") && !self.is_broken("admin.listen") {
            for (other, address) in [("listen", settings.listen), ("admin.listen", settings.admin.0.listen)] {
                if overlap(listen, address) {
                    self.refuse(key, format!("is the address of `{other}`, too"), "give it another port");
                }
            }
        }
        if issuer.tls.is_none() && !listen.ip().is_loopback() && !self.is_broken(key) {
            let message = "secrets and tokens cross the network without TLS";
            self.warn(key, message, "add [issuer.tls], or listen on 127.0.0.1 behind a proxy that ends TLS");
        }
    }

    fn client(&mut self, key: &str, at: usize, issuer: &Config) {
        let client = &issuer.client[at];
        for problem in client.problems(self.directory) {
            self.refuse(&format!("{key}.{}", problem.key), problem.reason, "");
        }
        if client.id == OWN_CLIENT && self.purpose != Purpose::IssuerAlone {
            self.refuse(&format!("{key}.id"), "is the name of the gateway's own client", "choose another name");
        }
        if let Some(file) = &client.secret_file
            && is_open_to_others(&self.directory.join(file))
        {
            let message = "other users of this machine can read or change the secret";
            self.warn(&format!("{key}.secret_file"), message, "chmod 600 the file");
        }
        if let Some(name) = &client.application
            && (name.trim().is_empty() || name.chars().count() > 60 || name.chars().any(char::is_control))
        {
            self.refuse(&format!("{key}.application"), "must be 1 to 60 characters on one line", "");
        }
        let authentication = format!("{key}.authentication");
        match &issuer.tls {
            None if client.authentication.is_by_certificate() => {
                self.refuse(&authentication, "needs TLS, and there is no [issuer.tls]", "add [issuer.tls]");
            }
            Some(tls) if tls.client_ca.is_none() && client.authentication.needs_authority() => {
                let hint =
                    "name the authorities in `client_ca` of [issuer.tls], or use \"self_signed_tls_client_auth\"";
                self.refuse(&authentication, "needs an authority that vouches for the certificates", hint);
            }
            _ => {}
        }
    }
}
