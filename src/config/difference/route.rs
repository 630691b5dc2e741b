//! What becomes of routes: each is known by its host and path.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Difference;
use super::members;
use super::words::{Subject, shown};
use crate::origin::{Authority, Origin};

/// Routes by name. Several may have one name, and are then told apart by their order.
type Named<'a> = BTreeMap<(String, usize), &'a Value>;

impl Difference {
    /// Compares routes, each with the address whose host they have where they name none.
    pub(super) fn routes(&mut self, before: (&Value, &Origin), after: (&Value, &Origin)) {
        let (before, after) = (named(before.0, before.1), named(after.0, after.1));
        for (name, old) in &before {
            match after.get(name) {
                Some(new) => self.route(&name.0, old, new),
                None => self.gone(&name.0, old, &after),
            }
        }
        for ((name, _), new) in after.iter().filter(|(name, _)| !before.contains_key(name)) {
            let upstream = members(&new["upstream"]).iter().map(shown).collect::<Vec<_>>().join(", ");
            let words = format!("route {name} is new, served by {upstream}");
            match access(new) {
                "public" => self.warn("route", format!("{words}, and public")),
                "optional" => self.warn("route", format!("{words}, and open to everybody")),
                _ => self.note("route", words),
            }
        }
    }

    /// What the route protected may be served by a wider one from now on.
    fn gone(&mut self, name: &str, route: &Value, after: &Named<'_>) {
        let is_wider = |wider: &str| name.starts_with(&format!("{}/", wider.trim_end_matches('/')));
        let next = after.iter().filter(|((wider, _), _)| is_wider(wider)).max_by_key(|((wider, _), _)| wider.len());
        match next {
            Some(((wider, _), next)) if access(route) == "signed-in" && access(next) != "signed-in" => {
                self.warn("route", format!("route {name} is gone, and {wider}, which is {}, serves it", access(next)));
            }
            _ => self.note("route", format!("route {name} is gone")),
        }
    }

    fn route(&mut self, name: &str, before: &Value, after: &Value) {
        let (mut before, mut after) = (before.clone(), after.clone());
        for route in [&mut before, &mut after].into_iter().filter_map(Value::as_object_mut) {
            // They are the name.
            route.remove("host");
            route.remove("path");
        }
        let was_restricted = !admits_everybody(&before["allow"]);
        if let (old, new) = (access(&before), access(&after))
            && old != new
        {
            match new {
                "public" => self.warn("route", format!("route {name} becomes public")),
                "optional" if old == "signed-in" => self.warn("route", format!("route {name} opens to everybody")),
                _ => self.note("route", format!("route {name} changes from {old} to {new}")),
            }
            after["access"] = before["access"].clone();
        }
        self.compare(&Subject::Route(name), "", &before, &after);
        if was_restricted && admits_everybody(&after["allow"]) && access(&after) == "signed-in" {
            self.warn("route", format!("route {name} opens to everybody who is signed in"));
        }
    }
}

fn named<'a>(routes: &'a Value, public_url: &Origin) -> Named<'a> {
    let mut named = Named::new();
    for route in members(routes) {
        let host = route["host"].as_str().and_then(Authority::parse).map_or(public_url.host.clone(), |it| it.host);
        let path = route["path"].as_str().unwrap_or("/").trim_end_matches('/');
        let name = format!("{host}{}", if path.is_empty() { "/" } else { path });
        let place = named.keys().filter(|(other, _)| *other == name).count();
        named.insert((name, place), route);
    }
    named
}

fn access(route: &Value) -> &str {
    route["access"].as_str().unwrap_or("signed-in")
}

/// Whether there is no rule, or one that everybody fits.
fn admits_everybody(allow: &Value) -> bool {
    let rules = members(allow);
    rules.is_empty() || rules.iter().any(is_empty)
}

fn is_empty(rule: &Value) -> bool {
    match rule {
        Value::Null => true,
        Value::Array(members) => members.is_empty(),
        Value::Object(lists) => lists.iter().all(|(name, list)| name == "no_access_text" || is_empty(list)),
        _ => false,
    }
}
