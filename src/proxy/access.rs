//! May this visitor pass? A pure function of the route, the session and the moment: no I/O, so it can be
//! tested, explained and reused.

use std::sync::Arc;

use super::route::{Allow, Route};
use crate::identity::{EmailAddress, Identity};
use crate::session::Live;

/// Who may pass a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, and the upstream is told of nobody.
    Public,
    /// Everybody, with their identity if they are signed in.
    Optional,
    /// Those who are signed in and whom the rule names.
    SignedIn(Allow),
}

/// Leave to pass, for one request to one upstream. Only [`decide`] makes it, and forwarding takes it by value.
pub struct Pass {
    route: Arc<Route>,
    visitor: Option<Arc<Live>>,
}

impl Pass {
    /// The route that was decided for.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Whether the visitor would get it again, as they are now.
    pub fn holds_for(&self, visitor: &Arc<Live>) -> bool {
        matches!(decide(&self.route, Some(Arc::clone(visitor))), Verdict::Pass(_))
    }

    /// The visitor whose identity the upstream is told.
    pub fn visitor(&self) -> Option<&Live> {
        self.visitor.as_deref()
    }
}

/// The decision.
pub enum Verdict {
    /// The request goes on.
    Pass(Pass),
    /// The visitor must sign in first.
    SignIn,
    /// The visitor is signed in, and may not.
    Refuse,
}

/// Decides. `visitor` is a session that was found not to be over.
pub fn decide(route: &Arc<Route>, visitor: Option<Arc<Live>>) -> Verdict {
    let pass = |visitor| Verdict::Pass(Pass { route: Arc::clone(route), visitor });
    match (&route.access, visitor) {
        (Access::Public, _) => pass(None),
        (Access::Optional, visitor) => pass(visitor),
        (Access::SignedIn(_), None) => Verdict::SignIn,
        (Access::SignedIn(allow), Some(visitor)) if allow.names(&visitor.session().identity) => pass(Some(visitor)),
        (Access::SignedIn(_), Some(_)) => Verdict::Refuse,
    }
}

impl Allow {
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
