//! Access: who is signed out passes public and optional routes only, and whom a rule names is nobody else.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use linkgate::identity::{EmailAddress, Identity};
use linkgate::proxy::access::{Allow, Verdict, decide};
use linkgate_fuzz::table;
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

#[derive(Arbitrary, Clone, Debug, PartialEq)]
struct Rule {
    addresses: Vec<(bool, Domain)>,
    domains: Vec<Domain>,
    groups: Vec<Word>,
    roles: Vec<Word>,
    permissions: Vec<Word>,
    organizations: Vec<Word>,
    teams: Vec<Word>,
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
}

fuzz_target!(|input: (u8, Rule, Visitor)| {
    let (access, rule, visitor) = input;
    let access = ["public", "optional", "signed-in"][usize::from(access) % 3];
    let allow = json!({ "path": "/x", "access": access, "allow": rule.json() });
    let table = table([allow]).expect("a rule");
    let route = table.routes().next().expect("a route");
    match decide(route, None) {
        Verdict::Pass(pass) => assert!(access != "signed-in" && pass.visitor().is_none()),
        Verdict::SignIn => assert_eq!(access, "signed-in"),
        Verdict::Refuse => panic!("nobody is refused before they could sign in"),
    }

    let allow: Allow = serde_json::from_value(rule.json()).expect("a rule");
    let allow = allow.canonical();
    let identity = visitor.identity();
    assert_eq!(allow.names(&identity), rule.names(&visitor), "{rule:?} {visitor:?}");
    // An address that was not proven is none.
    let nameless = Identity { email: None, ..identity.clone() };
    let unproven = Identity { email_verified: false, ..identity };
    assert_eq!(allow.names(&unproven), allow.names(&nameless), "{rule:?} {visitor:?}");
});

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text().to_owned()).collect()
}

fn meet(named: &[Word], had: &[Word]) -> bool {
    named.iter().any(|word| had.contains(word))
}

impl Rule {
    /// As it stands in gateway.toml.
    fn json(&self) -> Value {
        let address = |(is_whole, domain): &(bool, Domain)| {
            if *is_whole { format!("@{}", domain.text()) } else { format!("ada@{}", domain.text()) }
        };
        json!({
            "addresses": self.addresses.iter().map(address).collect::<Vec<_>>(),
            "domains": self.domains.iter().map(|domain| domain.text()).collect::<Vec<_>>(),
            "groups": texts(&self.groups),
            "roles": texts(&self.roles),
            "permissions": texts(&self.permissions),
            "organizations": texts(&self.organizations),
            "claims": if self.teams.is_empty() { json!({}) } else { json!({ "custom_data.team": texts(&self.teams) }) },
        })
    }

    /// The rule in other words: any list that has something of the visitor's.
    fn names(&self, visitor: &Visitor) -> bool {
        let proven = visitor.email.filter(|_| visitor.is_verified);
        *self == Self::EMPTY
            || proven
                .is_some_and(|email| self.domains.contains(&email) || self.addresses.iter().any(|it| it.1 == email))
            || meet(&self.groups, &visitor.groups)
            || meet(&self.roles, &visitor.roles)
            || meet(&self.permissions, &visitor.permissions)
            || visitor.organization.is_some_and(|organization| self.organizations.contains(&organization))
            || meet(&self.teams, &visitor.teams)
    }

    const EMPTY: Self = Self {
        addresses: Vec::new(),
        domains: Vec::new(),
        groups: Vec::new(),
        roles: Vec::new(),
        permissions: Vec::new(),
        organizations: Vec::new(),
        teams: Vec::new(),
    };
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
