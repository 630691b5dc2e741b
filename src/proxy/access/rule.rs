//! One rule: whom it names, and under which conditions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::claim::ClaimTest;
use super::hours::Hours;
use super::{Reason, Who};
use crate::clock::Timestamp;
use crate::identity::{AddressRule, ClaimPath, EmailAddress, Identity, Subject};
use crate::setting::{self, Span};

/// A rule of `route.allow` or `route.deny`: it fits a visitor who is named by any of its lists, under all of its
/// conditions. A rule without lists names everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Addresses like `"ada@example.com"`, or whole domains like `"@example.com"`.
    pub addresses: Vec<AddressRule>,
    /// Domains like `"example.com"`.
    pub domains: Vec<String>,
    /// Users, by the name that Mosaic or the issuer gave them for good.
    pub subjects: Vec<Subject>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Names of permissions.
    pub permissions: Vec<String>,
    /// Organisations that the visitor signed in to.
    pub organizations: Vec<String>,
    /// Claims, each with what it must say.
    pub claims: BTreeMap<ClaimPath, ClaimTest>,
    /// A condition: the client address is in one of these networks.
    pub networks: Vec<IpNet>,
    /// A condition: it is one of these times of the week.
    #[serde(deserialize_with = "setting::optional_table")]
    pub hours: Option<Hours>,
    /// A condition: the visitor signed in no longer ago than this.
    pub max_sign_in_age: Option<Span>,
    /// What the operator says to those whom the rule keeps out.
    pub no_access_text: Option<String>,
}

impl Rule {
    /// The claims that the rule must know beyond groups and roles.
    pub fn needed_claims(&self) -> Vec<ClaimPath> {
        let lists = [("permissions", &self.permissions), ("organization", &self.organizations)];
        let named = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(claim, _)| claim.to_owned());
        let named = named.filter_map(|claim| ClaimPath::try_from(claim).ok());
        named.chain(self.claims.keys().cloned()).collect()
    }

    /// Whether any list chooses among visitors, so that the rule says nothing about somebody who is not known.
    pub fn chooses(&self) -> bool {
        let lists = [&self.domains, &self.groups, &self.roles, &self.permissions, &self.organizations];
        let is_empty = lists.iter().all(|list| list.is_empty());
        !(is_empty && self.addresses.is_empty() && self.subjects.is_empty() && self.claims.is_empty())
    }

    /// Whether there are conditions beside the lists.
    pub const fn has_conditions(&self) -> bool {
        !self.networks.is_empty() || self.hours.is_some() || self.max_sign_in_age.is_some()
    }

    /// The same rule with its domains in the form that addresses have.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        for domain in &mut self.domains {
            // `check` refuses what is no domain; here it stays as it is and names nobody.
            if let Ok(address) = EmailAddress::parse(&format!("x@{domain}")) {
                *domain = address.domain().to_owned();
            }
        }
        self
    }

    /// What keeps the rule from letting the visitor pass; `None` where it does.
    pub fn objection(&self, client: IpAddr, who: Who<'_>, now: Timestamp) -> Option<Reason> {
        if self.chooses() {
            let identity = who.identity();
            // An address that was not verified may be another's.
            let proven = identity.proven_address();
            if !self.names(identity, proven) {
                return Some(Reason::NotNamed);
            }
        }
        if !self.covers(client) {
            return Some(Reason::Network);
        }
        if !self.holds_at(now) {
            return Some(Reason::Hours);
        }
        let is_too_old = self.max_sign_in_age.is_some_and(|most| now.since(who.signed_in_at()) > most.0);
        is_too_old.then_some(Reason::SignInTooOld)
    }

    /// Whether the rule keeps the visitor out, who may be unknown. An address counts as it is said to be: to leave it
    /// unverified is no way around the rule.
    pub fn denies(&self, client: IpAddr, who: Option<Who<'_>>, now: Timestamp) -> bool {
        let names = |who: Who<'_>| self.names(who.identity(), who.identity().email.as_ref());
        let is_meant = !self.chooses() || who.is_some_and(names);
        is_meant && self.covers(client) && self.holds_at(now)
    }

    fn covers(&self, client: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&client))
    }

    fn holds_at(&self, now: Timestamp) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contain(now))
    }

    /// Whether any of the lists names the visitor, by `address` where it counts.
    fn names(&self, identity: &Identity, address: Option<&EmailAddress>) -> bool {
        let Self { addresses, domains, subjects, groups, roles, permissions, organizations, claims, .. } = self;
        address.is_some_and(|address| {
            addresses.iter().any(|rule| rule.names(address))
                || domains.iter().any(|domain| domain.eq_ignore_ascii_case(address.domain()))
        }) || subjects.contains(&identity.subject)
            || groups.iter().any(|group| identity.groups.contains(group))
            || roles.iter().any(|role| identity.roles.contains(role))
            || permissions.iter().any(|permission| identity.permissions.contains(permission))
            || identity.organization.as_ref().is_some_and(|organization| organizations.contains(organization))
            || claims.iter().any(|(path, test)| identity.claimed(path).is_some_and(|claimed| test.accepts(&claimed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn ada() -> Identity {
        Identity {
            email: Some(EmailAddress::parse("ada@example.com").unwrap()),
            email_verified: true,
            groups: vec!["ops".to_owned()],
            roles: vec!["admin".to_owned()],
            permissions: vec!["reports:read".to_owned()],
            organization: Some("org-1".to_owned()),
            claims: serde_json::Map::from_iter([("custom_data".to_owned(), serde_json::json!({"team": ["a", "b"]}))]),
            ..Identity::new(Subject::try_from("u1".to_owned()).unwrap())
        }
    }

    fn rule(text: &str) -> Rule {
        toml::from_str(text).unwrap()
    }

    /// What keeps `rule` from letting somebody pass who signed in ten minutes ago, from 10.1.2.3.
    fn objection(rule: &Rule, identity: &Identity) -> Option<Reason> {
        let who = Who::supposed(identity, NOW.minus(std::time::Duration::from_secs(600)));
        rule.objection(IpAddr::from([10, 1, 2, 3]), who, NOW)
    }

    fn names(rule: &Rule, identity: &Identity) -> bool {
        objection(rule, identity).is_none()
    }

    #[test]
    fn any_list_that_names_the_visitor_is_enough() {
        let check = |text: &str, expected: bool| assert_eq!(names(&rule(text), &ada()), expected, "{text}");
        check("", true);
        check("addresses = ['Ada@example.com']", true);
        check("addresses = ['@example.com']", true);
        check("addresses = ['bob@example.com']", false);
        check("domains = ['Example.com']", true);
        check("domains = ['example.org']", false);
        check("domains = ['ample.com']", false);
        check("groups = ['ops']", true);
        check("groups = ['op', 'OPS']", false);
        check("roles = ['admin']", true);
        check("roles = ['root']\ngroups = ['ops']", true);
        check("permissions = ['reports:read']", true);
        check("permissions = ['reports']", false);
        check("organizations = ['org-1']", true);
        check("organizations = ['org-2']", false);
        check("claims = { 'custom_data.team' = ['x', 'b'] }", true);
        check("claims = { 'custom_data.team' = ['x'] }", false);
        check("claims = { 'custom_data.site' = ['b'] }", false);
        check("claims = { 'custom_data.team' = [] }", false);
        check("subjects = ['u1']", true);
        check("subjects = ['U1', 'u']", false);
        check("claims = { 'custom_data.team' = { contains = 'b' } }", true);
        check("claims = { 'custom_data.team' = 'b' }", false);
        check("claims = { organization = 'org-1' }", true);
        check("roles = ['root']\ngroups = ['dev']\naddresses = ['x@example.com']", false);
    }

    #[test]
    fn a_domain_is_compared_in_the_form_that_addresses_have() {
        let email = Some(EmailAddress::parse("ada@bücher.example").unwrap());
        let ada = Identity { email, ..ada() };
        assert!(names(&rule("domains = ['Bücher.example']").canonical(), &ada));
        assert!(!names(&rule("domains = ['bucher.example']").canonical(), &ada));
    }

    #[test]
    fn an_address_that_was_not_verified_names_nobody() {
        let unverified = Identity { email_verified: false, ..ada() };
        assert!(!names(&rule("addresses = ['ada@example.com']"), &unverified));
        assert!(!names(&rule("domains = ['example.com']"), &unverified));
        assert!(names(&rule("groups = ['ops']"), &unverified));
    }

    #[test]
    fn a_condition_must_hold_beside_the_lists() {
        let check = |text: &str, expected: Option<Reason>| {
            assert_eq!(objection(&rule(text), &ada()), expected, "{text}");
        };
        let (inside, outside) = ("networks = ['192.0.2.0/24', '10.0.0.0/8']", "networks = ['10.1.2.4/32', '::/0']");
        check(inside, None);
        check(outside, Some(Reason::Network));
        check(&format!("groups = ['ops']\n{inside}"), None);
        check(&format!("groups = ['ops']\n{outside}"), Some(Reason::Network));
        check(&format!("groups = ['dev']\n{inside}"), Some(Reason::NotNamed));
        // The story begins on a Friday, at 08:00 UTC.
        check("hours = { days = ['fri'], zone = 'UTC' }", None);
        check("hours = { days = ['mon'], zone = 'UTC' }", Some(Reason::Hours));
        check("max_sign_in_age = '10m'", None);
        check("max_sign_in_age = '599s'", Some(Reason::SignInTooOld));
        let all =
            |age: &str| format!("{inside}\nhours = {{ days = ['fri'], zone = 'UTC' }}\nmax_sign_in_age = '{age}'");
        check(&all("1h"), None);
        check(&all("1m"), Some(Reason::SignInTooOld));
    }

    #[test]
    fn a_rule_that_denies_needs_a_visitor_only_where_it_chooses() {
        let check = |text: &str, identity: Option<&Identity>, expected: bool| {
            let who = identity.map(|identity| Who::supposed(identity, NOW));
            assert_eq!(rule(text).denies(IpAddr::from([10, 1, 2, 3]), who, NOW), expected, "{text}");
        };
        let ada = ada();
        check("groups = ['ops']", Some(&ada), true);
        check("groups = ['dev']", Some(&ada), false);
        check("groups = ['ops']", None, false);
        check("networks = ['10.0.0.0/8']", None, true);
        check("networks = ['10.0.0.0/8']", Some(&ada), true);
        check("networks = ['192.0.2.0/24']", None, false);
        check("hours = { days = ['fri'], zone = 'UTC' }", None, true);
        check("groups = ['ops']\nnetworks = ['192.0.2.0/24']", Some(&ada), false);
        let unverified = Identity { email_verified: false, ..ada };
        check("addresses = ['ada@example.com']", Some(&unverified), true);
        check("domains = ['example.com']", Some(&unverified), true);
    }
}
