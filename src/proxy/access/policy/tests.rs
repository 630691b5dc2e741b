//! What holds of every policy, whatever its rules are.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::identity::{EmailAddress, Identity, Subject};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A policy of the settings of a route.
fn policy(settings: &str) -> Policy {
    let config: Config = toml::from_str(&format!("upstream = 'demo'\n{settings}")).unwrap();
    Policy::new(&config, "")
}

fn ada() -> Identity {
    Identity {
        email: EmailAddress::parse("ada@example.com").ok(),
        email_verified: true,
        groups: vec!["ops".to_owned()],
        roles: vec!["admin".to_owned()],
        ..Identity::new(Subject::try_from("u1".to_owned()).unwrap())
    }
}

/// What comes of Ada, who signed in ten minutes ago, or of nobody.
fn judge(policy: &Policy, access: Access, is_signed_in: bool) -> Judgement {
    let ada = ada();
    let who = Who::supposed(&ada, NOW.minus(Duration::from_secs(600)));
    policy.judge(access, IpAddr::from([10, 1, 2, 3]), Some(who).filter(|_| is_signed_in), NOW)
}

const fn refused(reason: Reason, rule: usize) -> Judgement {
    Judgement::Refuse(Objection { reason, rule: Some(rule) })
}

#[test]
fn the_rule_that_comes_nearest_says_why() {
    let check = |settings: &str, expected: Judgement| {
        assert_eq!(judge(&policy(settings), Access::SignedIn, true), expected, "{settings}");
    };
    let not_named = Judgement::Refuse(Objection { reason: Reason::NotNamed, rule: None });
    let (far, late) = ("networks = ['192.0.2.0/24']", "hours = { days = ['sat'], zone = 'UTC' }");
    check("", Judgement::Pass(None));
    check("allow = []", not_named);
    check("allow = [{ groups = ['dev'] }, { groups = ['ops'] }]", Judgement::Pass(None));
    check("allow = [{ groups = ['dev'] }, { roles = ['x'] }]", not_named);
    check(&format!("allow = [{{ groups = ['dev'] }}, {{ groups = ['ops'], {far} }}]"), refused(Reason::Network, 1));
    check(&format!("allow = [{{ groups = ['ops'], {late} }}, {{ {far} }}]"), refused(Reason::Hours, 0));
    check("deny = [{ groups = ['dev'] }, { groups = ['ops'] }]", refused(Reason::Denied, 1));
    check("allow = { groups = ['ops'] }\ndeny = { roles = ['admin'] }", refused(Reason::Denied, 0));
    let too_old = |rule, seconds| {
        let objection = Objection { reason: Reason::SignInTooOld, rule: Some(rule) };
        Judgement::StepUp(objection, Duration::from_secs(seconds))
    };
    check("allow = { max_sign_in_age = '5m' }", too_old(0, 300));
    check("allow = { max_sign_in_age = '10m' }", Judgement::Pass(None));
    check("allow = [{ max_sign_in_age = '1m' }, { max_sign_in_age = '5m' }, { groups = ['dev'] }]", too_old(1, 300));
    check(&format!("allow = [{{ max_sign_in_age = '1m' }}, {{ {far} }}]"), too_old(0, 60));
    check("allow = { groups = ['dev'], max_sign_in_age = '1m' }", not_named);
}

#[test]
fn nobody_is_asked_to_sign_in_only_to_be_refused_for_where_they_are() {
    let far = policy("deny = { networks = ['10.0.0.0/8'] }");
    let near = policy("deny = { networks = ['192.0.2.0/24'] }");
    for access in [Access::Public, Access::Optional, Access::SignedIn] {
        assert_eq!(judge(&far, access, false), refused(Reason::Denied, 0), "{access:?}");
    }
    assert_eq!(judge(&near, Access::Public, false), Judgement::Pass(None));
    assert_eq!(judge(&near, Access::SignedIn, false), Judgement::SignIn);
    let of_ops = policy("deny = { groups = ['ops'] }");
    assert_eq!(judge(&of_ops, Access::Optional, false), Judgement::Pass(None));
    assert_eq!(judge(&of_ops, Access::Optional, true), refused(Reason::Denied, 0));
    assert_eq!(judge(&of_ops, Access::Public, true), Judgement::Pass(None), "there nobody is known");
}

#[test]
fn what_is_said_is_the_rules_own_or_else_the_routes() {
    let settings = "no_access_text = 'route'\nallow = { groups = ['dev'] }\n\
                    deny = [{ groups = ['ops'], no_access_text = 'rule' }, { roles = ['admin'] }]";
    let check = |settings: &str, reason, rule, expected: (Option<Reason>, Option<&str>)| {
        let policy = policy(settings);
        let told = policy.told(Objection { reason, rule });
        assert_eq!((told.reason, told.text), expected, "{settings} {reason:?} {rule:?}");
    };
    check(settings, Reason::Denied, Some(0), (None, Some("rule")));
    check(settings, Reason::Denied, Some(1), (None, Some("route")));
    check(settings, Reason::NotNamed, None, (None, Some("route")));
    check("show_reason = true", Reason::Network, None, (Some(Reason::Network), None));
}

#[test]
fn a_part_of_a_route_is_public_by_path_and_method() {
    let policy = policy("public = [{ path = '/static' }, { path = '/status', methods = ['GET'] }]");
    let check = |method: Method, path: &str, expected: Access| {
        let path = CanonicalPath::parse(path.as_bytes()).unwrap();
        assert_eq!(policy.access_to(&method, &path), expected, "{method} {path:?}");
    };
    check(Method::PUT, "/static/x", Access::Public);
    check(Method::GET, "/status", Access::Public);
    check(Method::POST, "/status", Access::SignedIn);
    check(Method::GET, "/", Access::SignedIn);
    check(Method::GET, "/favicon.ico", Access::SignedIn);
    let files = self::policy("public_browser_files = true");
    let icon = CanonicalPath::parse(b"/favicon.ico").unwrap();
    assert_eq!(files.access_to(&Method::GET, &icon), Access::Public);
    assert_eq!(files.access_to(&Method::PUT, &icon), Access::SignedIn);
}

prop_compose! {
    /// A rule of whatever kinds, about people, places and times that meet.
    fn any_rule()(
        groups in vec("[ab]", 0..3),
        roles in vec("[ab]", 0..2),
        address in option::of(prop_oneof!["[ab]@a\\.test", "@[ab]\\.test"]),
        network in option::of(prop_oneof![Just("10.0.0.0/8"), Just("10.0.0.0/9"), Just("::/0")]),
        day in option::of(prop_oneof![Just("fri"), Just("sat")]),
        age in option::of(1_u32..30),
    ) -> Rule {
        let quoted = |texts: &[String]| texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(",");
        let mut text = format!("groups = [{}]\nroles = [{}]\n", quoted(&groups), quoted(&roles));
        text.extend(address.map(|address| format!("addresses = ['{address}']\n")));
        text.extend(network.map(|network| format!("networks = ['{network}']\n")));
        text.extend(day.map(|day| format!("hours = {{ days = ['{day}'], zone = 'UTC' }}\n")));
        text.extend(age.map(|age| format!("max_sign_in_age = '{age}m'\n")));
        toml::from_str(&text).unwrap()
    }
}

prop_compose! {
    fn any_identity()(
        address in option::of("[ab]@[ab]\\.test"),
        email_verified: bool,
        groups in vec("[ab]", 0..3),
        roles in vec("[ab]", 0..2),
    ) -> Identity {
        let email = address.and_then(|address| EmailAddress::parse(&address).ok());
        Identity { email, email_verified, groups, roles, ..Identity::new(Subject::try_from("u1".to_owned()).unwrap()) }
    }
}

fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Public), Just(Access::Optional), Just(Access::SignedIn)]
}

prop_compose! {
    fn any_policy()(
        access in any_access(),
        allow in option::of(vec(any_rule(), 0..4)),
        deny in vec(any_rule(), 0..3),
        mode in prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)],
    ) -> Policy {
        Policy { access, allow, deny, mode, ..policy("") }
    }
}

/// Somebody, or nobody, from somewhere at some time.
type Request = (Option<(Identity, u64)>, IpAddr, Timestamp);

fn any_request() -> impl Strategy<Value = Request> {
    let client = prop_oneof![Just([10, 1, 1, 1]), Just([10, 200, 1, 1]), Just([192, 0, 2, 1])].prop_map(IpAddr::from);
    let now = (0_i64..14).prop_map(|half_days| Timestamp::from_unix_seconds(1_800_000_000 + half_days * 43_200));
    (option::of((any_identity(), 0_u64..60)), client, now)
}

fn judged(policy: &Policy, (somebody, client, now): &Request) -> Judgement {
    let signed_in = |minutes: u64| now.minus(Duration::from_secs(minutes * 60));
    let who = somebody.as_ref().map(|(identity, age)| Who::supposed(identity, signed_in(*age)));
    policy.judge(policy.access, *client, who, *now)
}

fn passes(policy: &Policy, request: &Request) -> bool {
    matches!(judged(policy, request), Judgement::Pass(_))
}

proptest! {
    #[test]
    fn deny_wins_over_every_allow(policy in any_policy(), request in any_request()) {
        let policy = Policy { mode: Mode::Enforce, ..policy };
        let only_deny = Policy { allow: None, ..policy.clone() };
        if let Judgement::Refuse(objection) = judged(&only_deny, &request) {
            prop_assert_eq!(objection.reason, Reason::Denied);
            prop_assert_eq!(judged(&policy, &request), Judgement::Refuse(objection));
        }
    }

    #[test]
    fn a_further_deny_rule_never_lets_more_pass(policy in any_policy(), rule in any_rule(), request in any_request()) {
        let mut stricter = policy.clone();
        stricter.deny.push(rule);
        prop_assert!(!passes(&stricter, &request) || passes(&policy, &request));
    }

    #[test]
    fn observing_never_lets_somebody_pass_who_is_not_signed_in(policy in any_policy(), request in any_request()) {
        let policy = Policy { access: Access::SignedIn, mode: Mode::Observe, ..policy };
        let (_, client, now) = request;
        prop_assert_eq!(judged(&policy, &(None, client, now)), Judgement::SignIn);
    }

    #[test]
    fn observing_lets_pass_and_says_what_enforcing_refuses(policy in any_policy(), request in any_request()) {
        let judged = |mode| judged(&Policy { mode, ..policy.clone() }, &request);
        match (judged(Mode::Enforce), judged(Mode::Observe)) {
            (Judgement::Refuse(objection) | Judgement::StepUp(objection, _), observed) => {
                let is_signed_out = policy.access == Access::SignedIn && request.0.is_none();
                let expected = if is_signed_out { Judgement::SignIn } else { Judgement::Pass(Some(objection)) };
                prop_assert_eq!(observed, expected);
            }
            (same, observed) => prop_assert_eq!(same, observed),
        }
    }

    #[test]
    fn a_list_of_allow_rules_is_the_union_of_its_rules(policy in any_policy(), request in any_request()) {
        let Some(rules) = policy.allow.clone() else { return Ok(()) };
        let policy = Policy { access: Access::SignedIn, mode: Mode::Enforce, ..policy };
        let alone = |rule: &Rule| Policy { allow: Some(vec![rule.clone()]), ..policy.clone() };
        let any_alone = rules.iter().any(|rule| passes(&alone(rule), &request));
        prop_assert_eq!(passes(&policy, &request), any_alone);
    }

    #[test]
    fn nobody_passes_signed_in_access_without_a_sign_in(policy in any_policy(), request in any_request()) {
        let policy = Policy { access: Access::SignedIn, ..policy };
        let (_, client, now) = request;
        prop_assert!(!passes(&policy, &(None, client, now)));
    }

    #[test]
    fn a_further_sign_in_is_asked_for_only_where_it_helps(policy in any_policy(), request in any_request()) {
        if let (Judgement::StepUp(..), (Some((identity, _)), client, now)) = (judged(&policy, &request), request) {
            prop_assert_eq!(judged(&policy, &(Some((identity, 0)), client, now)), Judgement::Pass(None));
        }
    }
}
