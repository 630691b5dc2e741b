//! An explanation in words: one line for each thing there is to know.

use std::path::Path;

use crate::gateway::explain::{Cited, Explanation, Granted};

/// The lines, each with its name. `name` is who was said to be signed in.
pub(super) fn rows(explanation: &Explanation, name: Option<&str>, file: &Path) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    let place = |cited: &Cited| match cited.line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    };
    let Explanation { host, path, query, route, rule, forwarded, .. } = explanation;
    row("verdict", verdict(explanation));
    if let Some(rule) = rule {
        let text = rule.text.as_deref().unwrap_or_default();
        row("rule", format!("{} ({}): {text}", rule.key, place(rule)));
    }
    if let Some(grant) = &explanation.grant {
        let Granted { given_by, given_at, expires_at } = grant;
        row("grant", format!("given by {given_by} at {given_at}, ends: {expires_at}"));
    }
    for (name, text) in [("host", host), ("path", path), ("query", query)] {
        if let Some(text) = text {
            row(name, text.clone());
        }
    }
    row("client", explanation.client.to_string());
    row("visitor", visitor(explanation, name));
    if let Some(route) = route {
        row("route", format!("{} ({})", route.name, place(&route.place)));
        let access = serde_json::json!(route.access);
        let access = access.as_str().unwrap_or_default();
        row(
            "access",
            match &route.opened_by {
                Some(opened_by) => format!("{access}, by {} ({})", opened_by.key, place(opened_by)),
                None => access.to_owned(),
            },
        );
    }
    if let Some(forwarded) = forwarded {
        row("upstream", forwarded.servers.join(" or "));
        row("gets", forwarded.target.clone());
        for (at, (name, value)) in forwarded.headers.iter().enumerate() {
            row(if at == 0 { "headers" } else { "" }, format!("{name}: {value}"));
        }
    }
    rows
}

fn visitor(explanation: &Explanation, name: Option<&str>) -> String {
    match (name, &explanation.visitor) {
        (None, _) => "nobody is signed in".to_owned(),
        (Some(name), _) if explanation.is_refused_at_sign_in => {
            format!("nobody: {name} is refused at sign-in, by sign_in.allow or without a verified address")
        }
        (Some(name), None) => name.to_owned(),
        (Some(_), Some(shown)) => shown.clone(),
    }
}

/// The gateway's own word, and what it means.
fn verdict(explanation: &Explanation) -> String {
    let status = explanation.status.map(|status| format!(" {status}")).unwrap_or_default();
    format!("{}{status}: {}", explanation.verdict, why(explanation))
}

fn why(explanation: &Explanation) -> String {
    let reason = explanation.reason.map_or("", |reason| match reason.code() {
        "denied" => "a deny rule fits",
        "not_named" => "no allow rule names the visitor",
        "network" => "the allow rule that names the visitor is for other networks",
        "hours" => "the allow rule that names the visitor is for other hours",
        _ => "the visitor signed in too long ago for the allow rule",
    });
    let fixed = match explanation.verdict {
        "forwarded" if explanation.is_observed => return format!("{reason}, and the route only observes"),
        "no_access" => reason,
        "step_up_required" => return format!("{reason}; a browser is led to sign-in once more"),
        "forwarded" if explanation.grant.is_some() => "it goes to the upstream, by a grant",
        "forwarded" => "it goes to the upstream",
        "allowed" => "the proxy in front may forward it; the gateway itself does not",
        "portal" => "the gateway answers this path itself",
        "sign_in_required" => "nobody is signed in; a browser that opens a page is led to sign-in",
        "unknown_host" => "no route and not public_url has this host and port",
        "not_found" => "no route serves this path",
        "method_not_allowed" => "the method is never passed on, or no route of this path serves it",
        "foreign_origin" => "a page of another site opens a WebSocket in the visitor's name",
        "body_too_large" => "the body is beyond its limit",
        "bad_request" => "the request has no single meaning, or lacks a part",
        "unknown_method" => "the method is not known",
        _ => "the request is refused by its form",
    };
    fixed.to_owned()
}
