//! Whom a rule names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::{AddressRule, ClaimPath, EmailAddress, Identity};

/// `route.allow`: a visitor who is named by any of the lists may pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Addresses like `"ada@example.com"`, or whole domains like `"@example.com"`.
    pub addresses: Vec<AddressRule>,
    /// Domains like `"example.com"`.
    pub domains: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Names of permissions.
    pub permissions: Vec<String>,
    /// Organisations that the visitor signed in to.
    pub organizations: Vec<String>,
    /// Claims, each with the values of which it must say one.
    pub claims: BTreeMap<ClaimPath, Vec<String>>,
}

impl Allow {
    /// The claims that the rule must know beyond groups and roles.
    pub fn needed_claims(&self) -> Vec<ClaimPath> {
        let lists = [("permissions", &self.permissions), ("organization", &self.organizations)];
        let named = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(claim, _)| claim.to_owned());
        let named = named.filter_map(|claim| ClaimPath::try_from(claim).ok());
        named.chain(self.claims.keys().cloned()).collect()
    }

    /// Whether no list names anybody.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.domains, &self.groups, &self.roles, &self.permissions, &self.organizations];
        self.addresses.is_empty() && self.claims.is_empty() && lists.iter().all(|list| list.is_empty())
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

    /// Whether any of the lists names the visitor; lists that are all empty name everyone.
    /// Addresses count only once they were verified.
    pub fn names(&self, identity: &Identity) -> bool {
        let Self { addresses, domains, groups, roles, permissions, organizations, claims } = self;
        if self.is_empty() {
            return true;
        }
        let address = identity.email.as_ref().filter(|_| identity.email_verified);
        address.is_some_and(|address| {
            addresses.iter().any(|rule| rule.names(address))
                || domains.iter().any(|domain| domain.eq_ignore_ascii_case(address.domain()))
        }) || groups.iter().any(|group| identity.groups.contains(group))
            || roles.iter().any(|role| identity.roles.contains(role))
            || permissions.iter().any(|permission| identity.permissions.contains(permission))
            || identity.organization.as_ref().is_some_and(|organization| organizations.contains(organization))
            || claims.iter().any(|(path, wanted)| {
                identity.claimed(path).is_some_and(|claimed| wanted.iter().any(|value| claimed.says(value)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Subject;

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

    fn allow(rule: &str) -> Allow {
        toml::from_str(rule).unwrap()
    }

    #[test]
    fn any_list_that_names_the_visitor_is_enough() {
        let check = |rule: &str, expected: bool| assert_eq!(allow(rule).names(&ada()), expected, "{rule}");
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
        check("roles = ['root']\ngroups = ['dev']\naddresses = ['x@example.com']", false);
    }

    #[test]
    fn a_domain_is_compared_in_the_form_that_addresses_have() {
        let email = Some(EmailAddress::parse("ada@bücher.example").unwrap());
        let ada = Identity { email, ..ada() };
        assert!(allow("domains = ['Bücher.example']").canonical().names(&ada));
        assert!(!allow("domains = ['bucher.example']").canonical().names(&ada));
    }

    #[test]
    fn an_address_that_was_not_verified_names_nobody() {
        let unverified = Identity { email_verified: false, ..ada() };
        assert!(!allow("addresses = ['ada@example.com']").names(&unverified));
        assert!(!allow("domains = ['example.com']").names(&unverified));
        assert!(allow("groups = ['ops']").names(&unverified));
    }
}
