//! The checks of who may pass a route.

use std::net::IpAddr;

use super::Check;
use crate::identity::{AddressRule, EmailAddress};
use crate::proxy::access::{Access, Hours, Mode, Rule};
use crate::proxy::route::Config;
use crate::setting::Span;

/// What the rules of a list are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

impl Check<'_> {
    pub(super) fn access(&mut self, route: &str, config: &Config) {
        self.whole_site(route, config);
        self.allow(&format!("{route}.allow"), config);
        self.deny(&format!("{route}.deny"), config);
        self.asking(&format!("{route}.owners"), config);
        self.public(route, config);
        self.text(&format!("{route}.no_access_text"), config.no_access_text.as_deref());
        if config.mode == Mode::Observe {
            let message =
                "lets everybody pass who is signed in, whatever the rules say, and counts whom they would refuse";
            self.warn(&format!("{route}.mode"), message, "take it out once the counts are as you mean them");
        }
    }

    /// Nothing opens a whole host by accident.
    fn whole_site(&mut self, route: &str, config: &Config) {
        let is_public = config.access == Access::Public;
        let is_whole = matches!(config.path.as_deref(), None | Some("/"));
        let opens_all = config.public.iter().any(|rule| rule.path.as_str().is_empty());
        let is_read =
            ["access", "path", "whole_site", "public"].iter().all(|name| !self.is_broken(&format!("{route}.{name}")));
        if is_read && is_public && is_whole && !config.whole_site {
            let hint = "add a `path`, or `whole_site = true` if nothing on this host needs a sign-in";
            self.refuse(&format!("{route}.access"), "opens the whole site to everybody", hint);
        }
        if is_read && config.whole_site && !(is_whole && (is_public || opens_all)) {
            let message = "is for a route with `access = \"public\"` and no `path`";
            self.refuse(&format!("{route}.whole_site"), message, "take it out");
        }
    }

    fn allow(&mut self, key: &str, config: &Config) {
        let Some(rules) = &config.allow else { return };
        if config.access != Access::SignedIn {
            let message = "chooses among signed-in visitors, and this route lets everybody pass";
            self.refuse(key, message, "set `access = \"signed-in\"`, or take `allow` out");
        }
        // Nobody or everybody: it has two readings.
        let hint = "list who may pass, or leave it out to let every signed-in visitor pass";
        if rules.is_empty() && !self.is_broken(key) {
            self.refuse(key, "names nobody", hint);
        }
        for (at, rule) in rules.iter().enumerate() {
            let key = self.key_of_rule(key, at);
            if !rule.chooses() && !rule.has_conditions() && !self.is_broken(&key) {
                self.refuse(&key, "names nobody", hint);
            }
            self.rule(&key, rule, Effect::Allow);
        }
    }

    fn deny(&mut self, key: &str, config: &Config) {
        for (at, rule) in config.deny.iter().enumerate() {
            let key = self.key_of_rule(key, at);
            if !rule.chooses() && !rule.has_conditions() && !self.is_broken(&key) {
                self.refuse(&key, "keeps everybody out", "list who may not pass, or take it out");
            }
            if rule.chooses() && config.access == Access::Public {
                let message = "can never be decided: nobody is known on a public route";
                self.refuse(&key, message, "keep to `networks` and `hours`, or let the route ask for a sign-in");
            }
            self.rule(&key, rule, Effect::Deny);
        }
    }

    /// Owners are written to by the built-in issuer, about visitors whom `allow` does not name.
    fn asking(&mut self, key: &str, config: &Config) {
        const MOST: usize = 10;
        if config.owners.is_empty() {
            return;
        }
        if config.allow.is_none() {
            let hint = "add `allow` rules, or take it out";
            self.refuse(key, "can be asked for nothing: without `allow`, whoever is signed in passes", hint);
        }
        if self.settings.mosaic.is_some() {
            let hint = "take it out, and name whom to ask in `theme.contact` or `no_access_text`";
            self.refuse(key, "cannot be written to: with Mosaic, linkgate sends no mail of its own", hint);
        }
        if config.owners.len() > MOST {
            self.refuse(
                key,
                format!("are {}, and at most {MOST} can be", config.owners.len()),
                "name a shared mailbox",
            );
        }
    }

    /// The page shows rules and header fields, which are not for everybody.
    pub(super) fn debug_page(&mut self) {
        if let Some(at) = self.settings.debug_page.iter().position(|rule| *rule == AddressRule::Anyone) {
            let hint = "name addresses, or a domain like \"@example.com\"";
            self.refuse(&format!("debug_page[{at}]"), "shows the rules of every route to everybody", hint);
        }
    }

    /// A rule that stands alone is the list itself.
    fn key_of_rule(&self, list: &str, at: usize) -> String {
        let element = format!("{list}[{at}]");
        if self.places.has(&element) { element } else { list.to_owned() }
    }

    fn rule(&mut self, key: &str, rule: &Rule, effect: Effect) {
        const LISTS: [&str; 8] =
            ["addresses", "domains", "subjects", "groups", "roles", "permissions", "organizations", "claims"];
        // Whoever empties a list wants nobody of it, and not everybody.
        let emptied = LISTS.iter().find(|list| self.places.has(&format!("{key}.{list}")));
        if let Some(list) = emptied.filter(|_| !rule.chooses() && rule.has_conditions() && !self.is_broken(key)) {
            let hint = "fill the list, or take it out if the rule is for everybody";
            self.refuse(&format!("{key}.{list}"), "names nobody", hint);
        }
        for domain in &rule.domains {
            if EmailAddress::parse(&format!("x@{domain}")).is_err() || domain.contains('@') {
                let message = format!("expected domains like \"example.com\", not {domain:?}");
                self.refuse(&format!("{key}.domains"), message, "");
            }
        }
        for (at, network) in rule.networks.iter().enumerate() {
            if matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
                let message = "is no range that clients come from: such addresses are read as IPv4";
                self.refuse(
                    &format!("{key}.networks[{at}]"),
                    message,
                    "write it as an IPv4 range, like \"10.0.0.0/8\"",
                );
            }
        }
        if let Some(hours) = &rule.hours {
            self.hours(&format!("{key}.hours"), hours);
        }
        if let Some(age) = rule.max_sign_in_age {
            self.max_sign_in_age(&format!("{key}.max_sign_in_age"), age, effect);
        }
        self.text(&format!("{key}.no_access_text"), rule.no_access_text.as_deref());
    }

    fn hours(&mut self, key: &str, hours: &Hours) {
        if hours.from == hours.to {
            let message = format!("begin and end at {}", hours.from);
            self.refuse(key, message, "leave `from` and `to` out for all of the day");
        }
        let days = format!("{key}.days");
        if hours.days.is_empty() && self.places.has(&days) && !self.is_broken(&days) {
            self.refuse(&days, "names no day", "leave it out for every day");
        }
    }

    fn max_sign_in_age(&mut self, key: &str, age: Span, effect: Effect) {
        if effect == Effect::Deny {
            self.refuse(key, "is for `allow`: it asks for a recent sign-in", "put it into a rule that lets pass");
        } else if age < Span::minutes(1) {
            self.refuse(key, "must be at least 1m: it has to outlast the way from the sign-in", "");
        }
        if self.settings.sign_in.0.silent_login_cookie.is_some() {
            let message = "counts a silent login, which `sign_in.silent_login_cookie` allows, as a sign-in";
            self.warn(key, message, "take one of the two out, if visitors are to prove it anew");
        }
    }

    fn public(&mut self, route: &str, config: &Config) {
        if config.access == Access::Public {
            for (name, is_set) in
                [("public", !config.public.is_empty()), ("public_browser_files", config.public_browser_files)]
            {
                if is_set {
                    self.refuse(&format!("{route}.{name}"), "opens a part of what is public already", "take it out");
                }
            }
            return;
        }
        let base = config.path.as_deref().unwrap_or_default().trim_end_matches('/');
        for (at, rule) in config.public.iter().enumerate() {
            let key = self.key_of_rule(&format!("{route}.public"), at);
            let path = rule.path.as_str();
            if path.is_empty() && !config.whole_site {
                let hint = "name a path, or set `whole_site = true` if that is meant";
                self.refuse(&format!("{key}.path"), "opens the whole site to everybody", hint);
            } else if !path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                let message = format!("is not below the route's own path, {base:?}, so it opens nothing");
                self.refuse(&format!("{key}.path"), message, "write the whole path, as in the browser");
            }
            if rule.methods.as_ref().is_some_and(Vec::is_empty) && !self.is_broken(&key) {
                self.refuse(
                    &format!("{key}.methods"),
                    "opens nothing",
                    "name methods, or leave it out for every method",
                );
            }
        }
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        const LONGEST: usize = 300;
        let is_wrong =
            |text: &str| text.trim().is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control);
        if text.is_some_and(is_wrong) {
            self.refuse(key, format!("must be 1 to {LONGEST} characters on one line"), "");
        }
    }
}
