//! Access: deny wins, who is signed out passes public and optional routes only, and whom a rule fits is nobody else.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use crate::{NOW, table};
use arbitrary::{Arbitrary, Unstructured};
use http::Method;
use linkgate::identity::{EmailAddress, Identity};
use linkgate::proxy::access::{Access, Judgement, Policy, Reason, Who};
use linkgate::proxy::canonical::CanonicalPath;
use serde_json::{Value, json};

/// Few words, so that rules and visitors meet.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Word {
    Empty,
    Ops,
    OpsInCapitals,
    OpsAndMore,
    Staff,
    Ada,
}

impl Word {
    const fn text(self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::Ops => "ops",
            Self::OpsInCapitals => "OPS",
            Self::OpsAndMore => "ops,staff",
            Self::Staff => "staff",
            Self::Ada => "ada",
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Domain {
    Example,
    SubExample,
    Other,
}

impl Domain {
    const fn text(self) -> &'static str {
        match self {
            Self::Example => "example.test",
            Self::SubExample => "sub.example.test",
            Self::Other => "other.test",
        }
    }
}

/// Networks, and clients of which each is in one of them.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Network {
    Office,
    Home,
}

impl Network {
    const fn text(self) -> &'static str {
        match self {
            Self::Office => "10.0.0.0/8",
            Self::Home => "2001:db8::/32",
        }
    }

    fn client(self) -> IpAddr {
        let client = match self {
            Self::Office => "10.1.2.3",
            Self::Home => "2001:db8::1",
        };
        client.parse().expect("an address")
    }
}

#[derive(Arbitrary, Clone, Debug, PartialEq)]
struct Rule {
    addresses: Vec<(bool, Domain)>,
    domains: Vec<Domain>,
    groups: Vec<Word>,
    roles: Vec<Word>,
    permissions: Vec<Word>,
    organizations: Vec<Word>,
    teams: Vec<Word>,
    networks: Vec<Network>,
    /// Whether the rule has hours, and whether it is one of them.
    hours: Option<bool>,
    /// In minutes.
    max_sign_in_age: Option<NonZeroU8>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Setting {
    Public,
    Optional,
    SignedIn,
}

#[derive(Arbitrary, Clone, Debug)]
struct Rules {
    access: Setting,
    allow: Option<Vec<Rule>>,
    deny: Vec<Rule>,
    observes: bool,
}

#[derive(Arbitrary, Clone, Debug)]
struct Visitor {
    email: Option<Domain>,
    is_verified: bool,
    groups: Vec<Word>,
    roles: Vec<Word>,
    permissions: Vec<Word>,
    organization: Option<Word>,
    teams: Vec<Word>,
    /// In minutes.
    signed_in_ago: u8,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    rules: Rules,
    visitor: Visitor,
    network: Network,
    path: &'a [u8],
    is_get: bool,
}

/// Panics where that does not hold.
pub fn check(input: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let Input { rules, visitor, network, path, is_get } = input;
    stranger(&rules, network);
    signed_in(&rules, &visitor, network);
    public(&rules, path, is_get);
}

/// Somebody who is not signed in.
fn stranger(rules: &Rules, network: Network) {
    let judgement = rules.judge(None, network);
    let is_denied = rules.deny.iter().any(|rule| !rule.chooses() && rule.holds(network));
    match judgement {
        Judgement::Pass(observed) => {
            assert!(rules.access != Setting::SignedIn && (!is_denied || rules.observes), "{rules:?}");
            assert_eq!(observed.is_some(), is_denied, "{rules:?}");
        }
        Judgement::SignIn => assert!(rules.access == Setting::SignedIn && (!is_denied || rules.observes), "{rules:?}"),
        Judgement::Refuse(why) => assert!(why.reason == Reason::Denied && is_denied && !rules.observes, "{rules:?}"),
        Judgement::StepUp(..) => panic!("there is no sign-in that could be too old: {rules:?}"),
    }
}

/// Somebody who is.
fn signed_in(rules: &Rules, visitor: &Visitor, network: Network) {
    let judgement = rules.judge(Some(visitor), network);
    let known = Some(visitor).filter(|_| rules.access != Setting::Public);
    let denies = |rule: &Rule| {
        rule.holds(network) && (!rule.chooses() || known.is_some_and(|visitor| rule.names(visitor, visitor.email)))
    };
    let allows = |rule: &Rule| {
        rule.holds(network) && (!rule.chooses() || rule.names(visitor, visitor.email.filter(|_| visitor.is_verified)))
    };
    let is_denied = rules.deny.iter().any(denies);
    let allow = rules.allow.as_ref().filter(|_| rules.access == Setting::SignedIn);
    let is_named = allow.is_none_or(|allow| allow.iter().any(allows));
    let is_allowed = allow.is_none_or(|allow| allow.iter().any(|rule| allows(rule) && rule.is_fresh(visitor)));
    let objects = is_denied || !is_allowed;
    match judgement {
        Judgement::Pass(observed) => assert!(observed.is_some() == objects && (!objects || rules.observes)),
        Judgement::Refuse(why) => assert!(objects && !rules.observes && (why.reason == Reason::Denied) == is_denied),
        Judgement::StepUp(_, most) => {
            assert!(!is_denied && is_named && !is_allowed && !rules.observes);
            assert!(Duration::from_secs(u64::from(visitor.signed_in_ago) * 60) > most);
        }
        Judgement::SignIn => panic!("they are signed in: {rules:?}"),
    }
    // In which order the rules stand changes which is named, and nothing else.
    let mut turned = rules.clone();
    turned.deny.reverse();
    turned.allow.iter_mut().for_each(|allow| allow.reverse());
    let kind = |judgement| match judgement {
        Judgement::Pass(why) => (0, why.map(|why| why.reason), None),
        Judgement::SignIn => (1, None, None),
        Judgement::StepUp(why, most) => (2, Some(why.reason), Some(most)),
        Judgement::Refuse(why) => (3, Some(why.reason), None),
    };
    assert_eq!(kind(judgement), kind(turned.judge(Some(visitor), network)), "{rules:?} {visitor:?}");
}

/// What is public is below a path that is, by a method that it is for.
fn public(rules: &Rules, path: &[u8], is_get: bool) {
    let Ok(path) = CanonicalPath::parse(path) else { return };
    let method = if is_get { Method::GET } else { Method::POST };
    let is_open = is_get && (path.as_str() == "/open" || path.as_str().starts_with("/open/"));
    let access = rules.policy().access_to(&method, &path);
    assert_eq!(access, if is_open { Access::Public } else { rules.access.access() }, "{method} {path:?}");
}

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text().to_owned()).collect()
}

fn meet(named: &[Word], had: &[Word]) -> bool {
    named.iter().any(|word| had.contains(word))
}

impl Setting {
    const fn access(self) -> Access {
        match self {
            Self::Public => Access::Public,
            Self::Optional => Access::Optional,
            Self::SignedIn => Access::SignedIn,
        }
    }
}

impl Rules {
    /// As they stand in gateway.toml.
    fn policy(&self) -> Policy {
        let list = |rules: &Vec<Rule>| rules.iter().map(Rule::json).collect::<Value>();
        let mut route = json!({
            "path": "/",
            "access": self.access.access(),
            "deny": list(&self.deny),
            "mode": if self.observes { "observe" } else { "enforce" },
            "public": [{ "path": "/open", "methods": ["GET"] }],
        });
        if let Some(allow) = &self.allow {
            route["allow"] = list(allow);
        }
        let table = table([route]).expect("rules");
        table.routes().next().expect("a route").policy.clone()
    }

    fn judge(&self, visitor: Option<&Visitor>, network: Network) -> Judgement {
        let identity = visitor.map(Visitor::identity);
        let who = identity.as_ref().zip(visitor).map(|(identity, visitor)| {
            let ago = Duration::from_secs(u64::from(visitor.signed_in_ago) * 60);
            Who::supposed(identity, NOW.minus(ago))
        });
        self.policy().judge(self.access.access(), network.client(), who, NOW)
    }
}

impl Rule {
    fn json(&self) -> Value {
        let address = |(is_whole, domain): &(bool, Domain)| {
            if *is_whole { format!("@{}", domain.text()) } else { format!("ada@{}", domain.text()) }
        };
        let mut rule = json!({
            "addresses": self.addresses.iter().map(address).collect::<Vec<_>>(),
            "domains": self.domains.iter().map(|domain| domain.text()).collect::<Vec<_>>(),
            "groups": texts(&self.groups),
            "roles": texts(&self.roles),
            "permissions": texts(&self.permissions),
            "organizations": texts(&self.organizations),
            "networks": self.networks.iter().map(|network| network.text()).collect::<Vec<_>>(),
        });
        if !self.teams.is_empty() {
            rule["claims"] = json!({ "custom_data.team": texts(&self.teams) });
        }
        if let Some(is_now) = self.hours {
            rule["hours"] = json!({ "days": [if is_now { "fri" } else { "sat" }], "zone": "UTC" });
        }
        if let Some(minutes) = self.max_sign_in_age {
            rule["max_sign_in_age"] = format!("{minutes}m").into();
        }
        rule
    }

    fn chooses(&self) -> bool {
        let lists = [&self.groups, &self.roles, &self.permissions, &self.organizations, &self.teams];
        !self.addresses.is_empty() || !self.domains.is_empty() || lists.iter().any(|list| !list.is_empty())
    }

    /// Whether any list has something of the visitor's.
    fn names(&self, visitor: &Visitor, email: Option<Domain>) -> bool {
        email.is_some_and(|email| self.domains.contains(&email) || self.addresses.iter().any(|it| it.1 == email))
            || meet(&self.groups, &visitor.groups)
            || meet(&self.roles, &visitor.roles)
            || meet(&self.permissions, &visitor.permissions)
            || visitor.organization.is_some_and(|organization| self.organizations.contains(&organization))
            || meet(&self.teams, &visitor.teams)
    }

    fn holds(&self, network: Network) -> bool {
        (self.networks.is_empty() || self.networks.contains(&network)) && self.hours != Some(false)
    }

    fn is_fresh(&self, visitor: &Visitor) -> bool {
        self.max_sign_in_age.is_none_or(|most| visitor.signed_in_ago <= most.get())
    }
}

impl Visitor {
    fn identity(&self) -> Identity {
        let subject = "u1".to_owned().try_into().expect("a subject");
        let email = self.email.map(|domain| format!("ada@{}", domain.text()));
        Identity {
            email: email.map(|email| EmailAddress::parse(&email).expect("an address")),
            email_verified: self.is_verified,
            groups: texts(&self.groups),
            roles: texts(&self.roles),
            permissions: texts(&self.permissions),
            organization: self.organization.map(|word| word.text().to_owned()),
            claims: [("custom_data".to_owned(), json!({ "team": texts(&self.teams) }))].into_iter().collect(),
            ..Identity::new(subject)
        }
    }
}
