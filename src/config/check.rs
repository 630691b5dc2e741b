//! What is wrong between several settings, or with one whose type allows more than makes sense: a straight list.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::place::Places;
use super::problem::Problem;
use super::{Purpose, Settings};
use crate::identity::headers::Attribute;
use crate::identity::{AddressRule, IdentifierKind};
use crate::mosaic::EmailTemplate;
use crate::session::{Chain, cookie};
use crate::setting::Span;

mod access;
mod codes;
mod issuer;
mod mail;
mod mosaic;
mod route;
mod tls;
mod upstream;

/// What the checks found.
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Checks `settings`, whose relative paths start at `directory`. What has a problem already in `known` stands at its
/// default and is not complained about again.
pub(super) fn check(
    settings: &Settings,
    purpose: Purpose,
    places: &Places<'_>,
    directory: &Path,
    known: &[Problem],
) -> Findings {
    let findings = Findings { problems: Vec::new(), warnings: Vec::new() };
    let mut check = Check { settings, purpose, places, directory, known, findings };
    check.listeners();
    check.numbers();
    check.spans();
    check.theme();
    check.sign_in();
    check.owners();
    check.service();
    check.development();
    check.identity_headers();
    check.routes();
    check.debug_page();
    check.transport();
    check.findings
}

struct Check<'a> {
    settings: &'a Settings,
    purpose: Purpose,
    places: &'a Places<'a>,
    directory: &'a Path,
    known: &'a [Problem],
    findings: Findings,
}

impl Check<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        let problem = self.places.problem(key, message);
        self.findings.problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    fn warn(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        let problem = self.places.problem(key, message).hint(hint);
        self.findings.warnings.push(problem);
    }

    /// Whether the file says nothing about `key`, right or wrong.
    fn lacks(&self, key: &str) -> bool {
        !self.places.has(key) && !self.known.iter().any(|problem| problem.meant.as_deref() == Some(key))
    }

    /// Whether `key`, or something in it, could not be read.
    fn is_broken(&self, key: &str) -> bool {
        let is_within = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.known.iter().any(|problem| problem.key.strip_prefix(key).is_some_and(is_within))
    }

    fn listeners(&mut self) {
        let settings = self.settings;
        if self.lacks("public_url") {
            let hint =
                "set it to the address in the visitor's browser, like `public_url = \"https://app.example.com\"`";
            self.refuse("public_url", "is missing", hint);
        }
        let is_read = !self.is_broken("listen") && !self.is_broken("admin.listen");
        if is_read && overlap(settings.listen, settings.admin.0.listen) {
            let message = format!("is the address of the gateway itself, `listen` is {}", settings.listen);
            self.refuse("admin.listen", message, "give it another port");
        } else if !settings.admin.0.listen.ip().is_loopback() {
            let hint = "make sure that only operators can reach it, or listen on 127.0.0.1";
            self.warn("admin.listen", "health and metrics are open to the network", hint);
        }
        for (at, network) in settings.trusted_proxies.iter().enumerate() {
            if network.prefix_len() == 0 {
                let message = "trusts every peer, so any visitor can pretend to come from any address";
                self.warn(&format!("trusted_proxies[{at}]"), message, "name the addresses of your own proxies");
            }
        }
    }

    fn numbers(&mut self) {
        let (limits, sign_in) = (&self.settings.limits.0, &self.settings.sign_in.0);
        let zero = [
            ("threads", self.settings.threads == Some(0)),
            ("limits.header_bytes", limits.header_bytes == 0),
            ("limits.header_fields", limits.header_fields == 0),
            ("limits.target_bytes", limits.target_bytes == 0),
            ("limits.body_bytes_per_second", limits.body_bytes_per_second == 0),
            ("limits.body_bytes", limits.body_bytes == Some(0)),
            ("limits.connections", limits.connections == 0),
            ("limits.connections_per_peer", limits.connections_per_peer == 0),
            ("sign_in.links_per_mailbox", sign_in.links_per_mailbox == 0),
            ("sign_in.links_per_peer", sign_in.links_per_peer == 0),
            ("sign_in.links_in_all", sign_in.links_in_all == 0),
            ("sign_in.code_tries", sign_in.code_tries == 0),
        ];
        for (key, is_zero) in zero {
            if is_zero {
                self.refuse(key, "must be more than 0", "");
            }
        }
        if self.settings.threads.is_some_and(|threads| threads > 1024) {
            self.refuse("threads", "must be at most 1024", "leave it out for one thread for each core");
        }
    }

    fn spans(&mut self) {
        let (session, link_lifetime) = (&self.settings.session.0, self.settings.sign_in.0.link_lifetime);
        if !(Span::minutes(1)..=Span::hours(24)).contains(&link_lifetime) {
            self.refuse("sign_in.link_lifetime", "must be between 1m and 24h", "10m suits most");
        }
        // A default that is longer than the lifetime only means that the lifetime comes first.
        let is_written = !self.lacks("session.idle_timeout") && !self.is_broken("session");
        if is_written && session.idle_timeout > session.lifetime {
            let message = format!("is longer than the session itself, `session.lifetime` is {}", session.lifetime);
            self.refuse("session.idle_timeout", message, "");
        }
        let assertion = &self.settings.assertion.0;
        if !(Span::seconds(30)..=Span::minutes(5)).contains(&assertion.lifetime) {
            self.refuse("assertion.lifetime", "must be between 30s and 5m", "5m suits most");
        }
        if assertion.key_lifetime < Span::days(2) {
            let message = "must be at least 2d: each key is shown a day before it signs";
            self.refuse("assertion.key_lifetime", message, "30d suits most");
        }
    }

    fn theme(&mut self) {
        const LONGEST: usize = 60;
        let Some(name) = &self.settings.theme.0.name else { return };
        if name.trim().is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
            self.refuse("theme.name", format!("must be 1 to {LONGEST} characters on one line"), "");
        }
    }

    fn sign_in(&mut self) {
        const KINDS: [&str; 4] = ["email", "phone_number", "user_id", "username"];
        let sign_in = &self.settings.sign_in.0;
        if let IdentifierKind::Custom(name) = &sign_in.identifier {
            let near = |kind: &&&str| strsim::jaro_winkler(name, kind) > 0.8 || kind.starts_with(name.as_str());
            if let Some(kind) = KINDS.iter().find(near) {
                let message = "is taken for the name of a custom identifier of the tenant";
                self.warn("sign_in.identifier", message, &format!("did you mean \"{kind}\"?"));
            }
            if self.settings.issuer.is_some() {
                let hint = "use \"email\", \"phone_number\", \"user_id\" or \"username\"";
                self.refuse("sign_in.identifier", "the built-in issuer knows no identifiers of your own", hint);
            }
        }
        if let Some(label) = &sign_in.label
            && (label.trim().is_empty() || label.chars().count() > 60 || label.chars().any(char::is_control))
        {
            self.refuse("sign_in.label", "must be 1 to 60 characters on one line", "");
        }
        if !sign_in.notices.is_empty() && self.settings.mosaic.is_some() {
            let hint = "take it out";
            self.refuse("sign_in.notices", "cannot be sent: with Mosaic, linkgate sends no mail of its own", hint);
        }
        if let Some(name) = &sign_in.silent_login_cookie {
            let is_token = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            if !is_token {
                self.refuse("sign_in.silent_login_cookie", "is not the name of a cookie", "");
            } else if cookie::is_own(name.as_bytes()) {
                self.refuse(
                    "sign_in.silent_login_cookie",
                    "is a cookie of the gateway's own",
                    "name the other application's",
                );
            }
        }
    }

    /// What the owners of a section find wrong with a value that has the right type.
    fn owners(&mut self) {
        let settings = self.settings;
        if let Err(error) = settings.log.0.check() {
            self.refuse("log.level", format!("cannot {error}"), "");
        }
        for (name, error) in settings.theme.0.problems(self.directory) {
            self.refuse(&format!("theme.{name}"), format!("cannot {}", Chain(&error)), "");
        }
        let writes_mail =
            settings.mosaic.as_ref().is_some_and(|mosaic| mosaic.0.email_template == EmailTemplate::Gateway);
        if writes_mail && settings.theme.0.logo_is_for_pages_only(self.directory) {
            let message = "is shown on pages and left out of mail, which takes a PNG or WebP of at most 14 KiB";
            self.warn("theme.logo", message, "name such a picture, or set `email_template = \"tenant\"` in [mosaic]");
        }
        if let Err(error) = settings.session.0.store.check(self.directory) {
            self.refuse("session.store", format!("cannot {}", Chain(&error)), "");
        }
    }

    /// Exactly one service signs visitors in, and it is completely described.
    fn service(&mut self) {
        match (self.lacks("mosaic"), self.lacks("issuer")) {
            (_, true) if self.purpose == Purpose::IssuerAlone => {
                self.refuse("", "there is no [issuer] to run", "add `[issuer]` and its clients");
            }
            (false, _) if self.purpose == Purpose::IssuerAlone => {
                self.refuse("mosaic", "has no part in the issuer alone", "take it out");
            }
            (true, true) => {
                let hint =
                    "add `[mosaic]` for a Mosaic tenant, or `[issuer]` with `mailbox = true` to try linkgate out";
                self.refuse("", "nothing says who signs visitors in: there is neither [mosaic] nor [issuer]", hint);
            }
            (false, false) => self.refuse(
                "issuer",
                "stands beside [mosaic], and only one can sign visitors in",
                "keep one of the two",
            ),
            _ => {}
        }
        let settings = self.settings;
        if let Some(mosaic) = &settings.mosaic {
            self.mosaic(&mosaic.0);
        }
        if let Some(issuer) = &settings.issuer {
            self.issuer(&issuer.0);
            self.codes(&issuer.0);
            self.mail(&issuer.0);
        }
    }

    /// What makes trying out easy is for this machine only: it lets anybody in.
    fn development(&mut self) {
        let settings = self.settings;
        let is_open = settings.sign_up.0.allow.contains(&AddressRule::Anyone);
        let Some(issuer) = &settings.issuer else {
            if is_open {
                let message = "everybody with a mail address can make an account";
                self.warn("sign_up.allow", message, "name the domains that may, like \"@example.com\"");
            }
            return;
        };
        let beyond = settings.beyond_this_machine();
        if !beyond.is_empty() && issuer.0.mailbox {
            let message = format!("shows everybody's mail, so it works on this machine only, but {beyond}");
            let hint = "name a mail server in [issuer.mail] instead, or listen on 127.0.0.1 and use a localhost URL";
            self.refuse("issuer.mailbox", message, hint);
        }
        if !beyond.is_empty() && is_open {
            let message = format!("lets everybody in, so it works on this machine only, but {beyond}");
            self.refuse("sign_up.allow", message, "name the domains that may sign up, like \"@example.com\"");
        }
        // Programs may make users.
        let can_grow = !settings.sign_up.0.allow.is_empty() || !issuer.0.client.is_empty();
        if issuer.0.user.is_empty() && !can_grow && self.purpose != Purpose::IssuerAlone {
            let hint = "add an `[[issuer.user]]`, or name who may sign up in `sign_up.allow`";
            self.warn("issuer", "nobody can sign in: the issuer has no users, and nobody may sign up", hint);
        }
    }

    fn identity_headers(&mut self) {
        let headers = &self.settings.identity_headers.0;
        let is_read = !self.is_broken("identity_headers");
        let mut taken: BTreeMap<String, Attribute> = BTreeMap::new();
        for attribute in Attribute::ALL {
            let Some(name) = headers.name(attribute) else { continue };
            let key = format!("identity_headers.names.{}", attribute.as_str());
            let own = headers.names.get(&attribute).filter(|name| !name.is_empty());
            if let Some(message) = own.and_then(|name| wrong_header(name)) {
                self.refuse(&key, message, "");
            } else if let Some(other) = taken.insert(plain_name(name), attribute).filter(|_| is_read) {
                // The preset has no name twice, so one of the two is the operator's own.
                let (key, other) = if headers.names.contains_key(&attribute) {
                    (key, other)
                } else {
                    (format!("identity_headers.names.{}", other.as_str()), attribute)
                };
                let message =
                    format!("is also the header of `{}`; case, `-`, `_` and `.` make no difference", other.as_str());
                self.refuse(&key, message, "");
            }
        }
        let mut extra: BTreeMap<String, &str> = BTreeMap::new();
        for name in headers.extra.keys() {
            let key = format!("identity_headers.extra.{name}");
            let other = taken.get(&plain_name(name)).map(|attribute| attribute.as_str());
            if let Some(message) = wrong_header(name) {
                self.refuse(&key, message, "");
            } else if let Some(other) = other.or_else(|| extra.insert(plain_name(name), name)).filter(|_| is_read) {
                let message = format!("is also the header of `{other}`; case, `-`, `_` and `.` make no difference");
                self.refuse(&key, message, "");
            }
        }
    }
}

/// Why a name of the operator's cannot be an identity header.
fn wrong_header(name: &str) -> Option<&'static str> {
    // What the gateway or HTTP itself gives a meaning (RFC 9110 section 7.6.1).
    const TAKEN: [&str; 25] = [
        "accept-encoding",
        "authorization",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-linkgate-assertion",
        "x-real-ip",
        "x-request-id",
    ];
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some("is not the name of a header field");
    }
    let plain = plain_name(name);
    let is_taken = TAKEN.contains(&plain.as_str()) || plain.starts_with("content-");
    is_taken.then_some("has a meaning of its own and cannot tell who the visitor is")
}

/// A header name as applications may read it: many take `_` and `.` for `-`.
fn plain_name(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Whether two listeners would want the same socket. Port 0 is a different one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
