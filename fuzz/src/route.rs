//! Routes: the one that is found fits, none that fits says more, and it does not matter in which order they stand.
//!
//! The input is text: a route per line (host, path and, where it has them, methods), and behind an empty line requests of
//! the same form.

use std::collections::BTreeSet;

use crate::{table, text};
use http::Method;
use linkgate::origin::Authority;
use linkgate::proxy::canonical::CanonicalPath;
use linkgate::proxy::route::{Found, Table};
use serde_json::json;

/// A route: host, path, methods. `check` refuses the same host and path twice for one method.
type Line = (String, String, BTreeSet<String>);

/// Panics where that does not hold.
pub fn check(input: &[u8]) {
    let text = text(input);
    let Some((routes, requests)) = text.split_once("\n\n") else { return };
    let mut lines: Vec<Line> = Vec::new();
    for line in routes.lines().filter_map(line) {
        let overlaps = |other: &Line| {
            let both = line.2.is_empty() || other.2.is_empty() || !line.2.is_disjoint(&other.2);
            let is_same_kind = line.2.is_empty() == other.2.is_empty();
            line.0 == other.0 && line.1 == other.1 && both && is_same_kind
        };
        if !lines.iter().any(overlaps) {
            lines.push(line);
        }
    }
    let config = |(host, path, methods): &Line| {
        let methods = (!methods.is_empty()).then_some(methods);
        json!({ "host": host, "path": path, "methods": methods })
    };
    let Ok(forwards) = table(lines.iter().map(config)) else { return };
    let Ok(backwards) = table(lines.iter().rev().map(config)) else { return };
    for (host, path, methods) in requests.lines().filter_map(line) {
        let path = CanonicalPath::parse(path.as_bytes()).expect("a canonical path");
        let method = methods.first().map_or("GET", String::as_str);
        let method: Method = method.parse().expect("a method");
        let found = name(&forwards, &host, &path, &method);
        assert_eq!(found, name(&backwards, &host, &path, &method), "{host} {path:?} {method} in {lines:?}");
        assert_eq!(found, expected(&lines, &host, &path, &method), "{host} {path:?} {method} in {lines:?}");
    }
}

fn name(table: &Table, host: &str, path: &CanonicalPath, method: &Method) -> Option<String> {
    match table.find(host, path, method) {
        Found::Route(route) => Some(format!("{} {}", route.name, route.methods.is_some())),
        Found::OtherMethods(_) | Found::Nothing => None,
    }
}

/// The same by the rules as they are documented: the host that names it, else the nearest name above it; then the longest
/// path that has a route for the method, and of its routes the one that names the method.
fn expected(lines: &[Line], host: &str, path: &CanonicalPath, method: &Method) -> Option<String> {
    let above = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
    let named = std::iter::once(host.to_owned()).chain(above).find(|name| lines.iter().any(|line| line.0 == *name))?;
    let serves = |methods: &BTreeSet<String>| methods.is_empty() || methods.contains(method.as_str());
    let fitting = lines.iter().filter(|(at, below, methods)| *at == named && path.is_below(below) && serves(methods));
    let (host, path, methods) =
        fitting.max_by_key(|(_, path, methods)| (path.trim_end_matches('/').len(), !methods.is_empty()))?;
    Some(format!("{host}{path} {}", !methods.is_empty()))
}

/// Host, path and methods of a line where they are in their canonical form and the path has no slash at its end.
fn line(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let (host, path) = (words.next()?, words.next()?);
    let name = host.strip_prefix("*.").unwrap_or(host);
    Authority::parse(name).filter(|found| found.host == name && found.port.is_none())?;
    // There is nothing below an address.
    if host != name && (name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok()) {
        return None;
    }
    let path = CanonicalPath::parse(path.as_bytes()).ok()?;
    let path = path.as_str();
    let methods = words.filter(|word| ["GET", "POST", "PUT", "HEAD"].contains(word)).map(str::to_owned).collect();
    Some((host.to_owned(), if path == "/" { path } else { path.trim_end_matches('/') }.to_owned(), methods))
}
