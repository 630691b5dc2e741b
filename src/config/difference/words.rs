//! The words for a change: whose setting it is, and how values are written.

use std::fmt::Write as _;

use serde_json::Value;

use crate::proxy::headers::may_be_secret;

/// Whose settings are compared.
pub(super) enum Subject<'a> {
    /// Those of the file, by their dotted name.
    Settings,
    /// Those of the route of that name.
    Route(&'a str),
}

/// How a setting comes to be another.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// A list has a member more.
    Gains,
    /// A list has a member less.
    Loses,
    /// It has this value.
    Becomes(&'a Value),
}

/// Lists of a route whose members have a name of their own kind.
const KINDS: [(&str, &str); 8] = [
    ("groups", "group "),
    ("subjects", "user "),
    ("roles", "role "),
    ("domains", "domain "),
    ("permissions", "permission "),
    ("organizations", "organization "),
    ("methods", "method "),
    ("upstream", "upstream "),
];

impl Subject<'_> {
    pub(super) const fn is_route(&self) -> bool {
        matches!(self, Self::Route(_))
    }

    /// Whether `key` is the one rule of a route, before and after, so that it is told of by what is in it.
    pub(super) fn is_rule(&self, key: &str, before: &[Value], after: &[Value]) -> bool {
        self.is_route() && matches!(key, "allow" | "deny") && before.len() <= 1 && after.len() <= 1
    }

    /// Whether somebody may do more by a change of `key`.
    pub(super) fn opens(&self, key: &str, way: Way<'_>) -> bool {
        let table = key.split(['.', '[']).next().unwrap_or(key);
        let is_open = match way {
            Way::Gains => table == "public",
            Way::Loses => table == "deny",
            Way::Becomes(Value::Null) => matches!(key, "allow.hours" | "allow.max_sign_in_age"),
            Way::Becomes(value) => match key {
                "mode" => value == "observe",
                "public_browser_files" | "bearer" => value == true,
                _ => false,
            },
        };
        self.is_route() && is_open
    }

    /// The setting that a change of `key` is filed under.
    pub(super) const fn key<'k>(&self, key: &'k str) -> &'k str {
        match self {
            Self::Settings => key,
            Self::Route(_) => "route",
        }
    }

    pub(super) fn gains(&self, key: &str, member: &Value) -> String {
        self.member("gains", key, member)
    }

    pub(super) fn loses(&self, key: &str, member: &Value) -> String {
        self.member("loses", key, member)
    }

    fn member(&self, verb: &str, key: &str, member: &Value) -> String {
        let member = label(member);
        let Self::Route(name) = self else { return format!("{key} {verb} {member}") };
        let (table, list) = key.rsplit_once('.').unwrap_or(("", key));
        match KINDS.iter().find(|(kind, _)| *kind == list) {
            Some((_, kind)) if matches!(table, "" | "allow") => format!("route {name} {verb} {kind}{member}"),
            Some((_, kind)) => format!("route {name} {verb} {kind}{member} in {table}"),
            None if key == "allow.addresses" => format!("route {name} {verb} {member}"),
            None => format!("route {name} {verb} {member} in {key}"),
        }
    }

    pub(super) fn is_reordered(&self, key: &str) -> String {
        match self {
            Self::Settings => format!("{key} changes its order"),
            Self::Route(name) => format!("route {name} changes the order of {key}"),
        }
    }

    pub(super) fn is_other(&self, key: &str, before: &Value, after: &Value) -> String {
        if let (Self::Route(name), Some((_, field))) = (self, key.split_once("_headers.set."))
            && may_be_secret(field)
        {
            return format!("route {name} changes {key}");
        }
        let (then, now) = (shown(before), shown(after));
        match (self, before, after) {
            (Self::Settings, Value::Null, _) => format!("{key} is now {now}"),
            (Self::Settings, _, Value::Null) => format!("{key} is not set any more, it was {then}"),
            (Self::Settings, ..) => format!("{key} changes from {then} to {now}"),
            (Self::Route(name), Value::Null, _) => format!("route {name} sets {key} to {now}"),
            (Self::Route(name), _, Value::Null) => format!("route {name} no longer sets {key}, it was {then}"),
            (Self::Route(name), ..) => format!("route {name} changes {key} from {then} to {now}"),
        }
    }
}

/// What a member of a list is called: by its own name, or else by all that it is.
pub(super) fn label(member: &Value) -> String {
    let name = ["id", "email", "name"].iter().find_map(|name| member.get(name)?.as_str());
    name.map_or_else(|| shown(member), str::to_owned)
}

/// A value as it could stand in the file; what is not set in a table is left out.
pub(in crate::config) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() || text.contains(char::is_whitespace) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(members) => format!("[{}]", members.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let is_set = |value: &Value| !matches!(shown(value).as_str(), "nothing" | "[]" | "{  }");
            let set = table.iter().filter(|(_, value)| is_set(value));
            format!(
                "{{ {} }}",
                set.map(|(key, value)| format!("{key} = {}", shown(value))).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// The same words with `an address` for each mail address. URLs and whole domains, like `@example.com`, stay.
pub(super) fn without_addresses(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for part in words.split_inclusive(|sign: char| sign.is_whitespace() || matches!(sign, '"' | '[' | ']' | ',')) {
        let word = part.trim_end_matches(|sign: char| sign.is_whitespace() || matches!(sign, '"' | '[' | ']' | ','));
        let is_address = word.find('@').is_some_and(|at| at > 0) && !word.contains("://");
        let shown = if is_address { "an address" } else { word };
        write!(text, "{shown}{}", &part[word.len()..]).expect("a text can be written to");
    }
    text
}
