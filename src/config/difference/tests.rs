//! The words for everything that can be different.

use std::path::Path;

use super::*;

const BASE: &str = "public_url = \"https://app.example.com\"\n[issuer]\n[issuer.mail]\nserver = \"localhost\"\nsecurity = \"none\"\n\
    from = \"noreply@example.com\"\n";

fn config(text: &str) -> Config {
    let text = format!("{BASE}{text}");
    Config::parse(&text, Path::new("/nowhere/gateway.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn changes(old: &str, new: &str) -> Vec<Change> {
    difference(&config(old), &config(new))
}

/// What is said about a change from `old` to `new`; what opens something begins with an exclamation mark.
fn check(old: &str, new: &str, expected: &[&str]) {
    let found = changes(old, new);
    let found: Vec<String> =
        found.iter().map(|change| format!("{}{change}", if change.opens() { "! " } else { "" })).collect();
    assert_eq!(found, expected, "{old:?} {new:?}");
}

const ROUTE: &str = "[[route]]\nupstream = \"http://a:1\"\n";

fn check_route(old: &str, new: &str, expected: &[&str]) {
    check(&format!("{ROUTE}path = \"/admin\"\n{old}"), &format!("{ROUTE}path = \"/admin\"\n{new}"), expected);
}

#[test]
fn the_same_file_has_no_difference() {
    check(ROUTE, ROUTE, &[]);
    check(&format!("[limits]\nheader_fields = 100\n{ROUTE}"), ROUTE, &[]);
}

#[test]
fn settings_change_from_one_value_to_another() {
    let with = |settings: &str| format!("{settings}\n{ROUTE}");
    let change = |old: &str, new: &str, expected: &[&str]| check(&with(old), &with(new), expected);
    change("", "[limits]\nheader_bytes = 65536", &["limits.header_bytes changes from 32768 to 65536"]);
    change("", "[limits]\nbody_bytes = 10", &["limits.body_bytes is now 10"]);
    change("[limits]\nbody_bytes = 10", "", &["limits.body_bytes is not set any more, it was 10"]);
    change("", "[session]\nidle_timeout = \"30m\"", &["session.idle_timeout changes from 12h to 30m"]);
    change("", "[theme]\nname = \"A Wiki\"", &["theme.name is now \"A Wiki\""]);
    change(
        "[identity_headers]\nextra = { X-A = \"custom_data.a\" }",
        "[identity_headers]\nextra = { X-A = \"custom_data.b\", X-B = \"custom_data.a\" }",
        &[
            "identity_headers.extra.X-A changes from custom_data.a to custom_data.b",
            "identity_headers.extra.X-B is now custom_data.a",
        ],
    );
}

#[test]
fn lists_gain_and_lose_members() {
    let with = |list: &str| format!("[sign_in]\nallow = {list}\n{ROUTE}");
    let change = |old: &str, new: &str, expected: &[&str]| check(&with(old), &with(new), expected);
    change(
        "['@a.example', '@b.example']",
        "['@b.example', '@c.example']",
        &["sign_in.allow loses @a.example", "sign_in.allow gains @c.example"],
    );
    change("['@a.example', '@b.example']", "['@b.example', '@a.example']", &["sign_in.allow changes its order"]);
    change("[]", "['@a.example']", &["sign_in.allow gains @a.example"]);
}

#[test]
fn addresses_are_shown_in_full_only_where_it_is_asked_for() {
    let found = changes(
        ROUTE,
        &format!("[sign_in]\nallow = [\"ada@example.com\"]\n{ROUTE}allow = {{ addresses = [\"bob@example.com\"] }}"),
    );
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["sign_in.allow gains an address", "route app.example.com/ gains an address"]);
    let full: Vec<_> = found.iter().map(Change::in_full).collect();
    assert_eq!(full, ["sign_in.allow gains ada@example.com", "route app.example.com/ gains bob@example.com"]);
    let users = |groups: &str| format!("[[issuer.user]]\nemail = \"ada@example.com\"\ngroups = {groups}\n{ROUTE}");
    check(&users("[]"), &users("[\"ops\"]"), &["issuer.user[an address].groups gains ops"]);
    check(ROUTE, &users("[]"), &["issuer.user gains an address"]);
}

#[test]
fn routes_come_go_and_change() {
    let other = "[[route]]\npath = \"/x\"\nupstream = \"http://b:2\"\n";
    check(ROUTE, &format!("{ROUTE}{other}"), &["route app.example.com/x is new, served by http://b:2"]);
    check(&format!("{other}{ROUTE}"), ROUTE, &["route app.example.com/x is gone"]);
    check(&format!("{other}{ROUTE}"), &format!("{ROUTE}{other}"), &[]);
    check_route(
        "",
        "response_timeout = \"5s\"",
        &["route app.example.com/admin changes response_timeout from 1m to 5s"],
    );
    check(
        ROUTE,
        "[[route]]\nupstream = \"http://b:2\"\n",
        &["route app.example.com/ changes upstream from http://a:1 to http://b:2"],
    );
}

#[test]
fn rules_gain_and_lose_what_they_name() {
    check_route("", "allow = { groups = ['ops'] }", &["route app.example.com/admin gains group ops"]);
    check_route(
        "allow = { groups = ['ops', 'dev'], roles = ['admin'] }",
        "allow = { groups = ['dev'], roles = ['admin', 'boss'] }",
        &["route app.example.com/admin loses group ops", "route app.example.com/admin gains role boss"],
    );
    check_route(
        "",
        "allow = { claims = { 'custom_data.team' = ['a'] } }",
        &["route app.example.com/admin gains a in allow.claims.custom_data.team"],
    );
}

#[test]
fn what_opens_something_is_marked() {
    check_route("", "access = \"public\"", &["! route app.example.com/admin becomes public"]);
    check_route("access = \"public\"", "", &["route app.example.com/admin changes from public to signed-in"]);
    check_route("", "access = \"optional\"", &["! route app.example.com/admin opens to everybody"]);
    check_route(
        "allow = { groups = ['ops'] }",
        "",
        &[
            "route app.example.com/admin loses group ops",
            "! route app.example.com/admin opens to everybody who is signed in",
        ],
    );
    let public = "[[route]]\npath = \"/x\"\nupstream = \"http://b:2\"\naccess = \"public\"\n";
    check(ROUTE, &format!("{ROUTE}{public}"), &["! route app.example.com/x is new, served by http://b:2, and public"]);
    let below = "[[route]]\npath = \"/x/y\"\nupstream = \"http://b:2\"\n";
    check(
        &format!("{public}{below}"),
        public,
        &["! route app.example.com/x/y is gone, and app.example.com/x, which is public, serves it"],
    );
    check_route("mode = \"observe\"", "", &["route app.example.com/admin changes mode from observe to enforce"]);
    check_route("", "mode = \"observe\"", &["! route app.example.com/admin changes mode from enforce to observe"]);
    check_route("deny = { groups = ['x'] }", "", &["! route app.example.com/admin loses group x in deny"]);
    check_route("", "deny = { groups = ['x'] }", &["route app.example.com/admin gains group x in deny"]);
    let rules = |rules: &str| format!("allow = [{rules}]");
    check_route(
        &rules("{ groups = ['a'] }, { groups = ['b'] }"),
        &rules("{ groups = ['b'] }, { roles = ['c'], networks = ['10.0.0.0/8'] }"),
        &[
            "route app.example.com/admin loses { groups = [a] } in allow",
            "route app.example.com/admin gains { networks = [10.0.0.0/8], roles = [c] } in allow",
        ],
    );
    check_route(
        "",
        "public = [{ path = '/admin/open' }]",
        &["! route app.example.com/admin gains { path = /admin/open } in public"],
    );
}
