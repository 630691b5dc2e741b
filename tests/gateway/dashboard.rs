//! The dashboard and the alerts in `deploy/` ask for what `/metrics` has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::{Gate, with_routes};

const DASHBOARD: &str = include_str!("../../deploy/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../deploy/prometheus-alerts.yml");

const ROUTES: &str = "[[route]]\nupstream = UPSTREAM\n\
                      [[route]]\npath = '/trial'\nmode = 'observe'\nupstream = UPSTREAM\nallow = { groups = ['ops'] }\n\
                      [[route]]\npath = '/closed'\nupstream = UPSTREAM\nallow = { groups = ['ops'] }\n";

/// Labels that Prometheus adds, and the one of a histogram's buckets.
const ADDED: [&str; 3] = ["job", "instance", "le"];

type Labels = BTreeMap<String, BTreeSet<String>>;

/// The metrics, each with its labels and their values.
fn exposed(metrics: &str) -> BTreeMap<String, Labels> {
    let mut exposed: BTreeMap<String, Labels> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (sample, _) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let known = exposed.entry(name.to_owned()).or_default();
        for (label, value) in pairs(labels.trim_end_matches('}')) {
            known.entry(label).or_default().insert(value);
        }
    }
    exposed
}

/// What stands between braces: `name="value"` or with another comparison. None of our values has a comma.
fn pairs(labels: &str) -> Vec<(String, String)> {
    let pairs = labels.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{pair} is no label"));
        (name.trim_end_matches('!').to_owned(), value.trim_start_matches('~').trim_matches('"').to_owned())
    });
    pairs.collect()
}

/// Everything in `query` that `exposed` lacks.
fn missing(query: &str, exposed: &BTreeMap<String, Labels>) -> Vec<String> {
    let mut missing = Vec::new();
    let mut known: BTreeSet<&str> = ADDED.into();
    let starts: Vec<usize> = query.match_indices("linkgate_").map(|(at, _)| at).collect();
    assert!(!starts.is_empty(), "{query} asks for nothing of ours");
    for start in starts {
        let rest = &query[start..];
        let end = rest.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let Some(labels) = exposed.get(name) else {
            missing.push(name.to_owned());
            continue;
        };
        known.extend(labels.keys().map(String::as_str));
        let Some((selected, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { continue };
        for (label, value) in pairs(selected).iter().filter(|(label, _)| !ADDED.contains(&label.as_str())) {
            if !labels.get(label).is_some_and(|values| values.contains(value)) {
                missing.push(format!("{name}{{{label}=\"{value}\"}}"));
            }
        }
    }
    let unknown = grouped(query).into_iter().filter(|label| !known.contains(label));
    missing.extend(unknown.map(|label| format!("by ({label}) in {query}")));
    missing
}

/// The labels that a query sums by.
fn grouped(query: &str) -> Vec<&str> {
    let groups = query.split("by (").skip(1);
    groups.flat_map(|rest| rest.split_once(')').expect("the parenthesis is closed").0.split(", ")).collect()
}

fn queries_of_dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        let title = panel["title"].as_str().expect("a panel has a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a target has a query");
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let grouped = grouped(query);
            for legend in legend.split("{{").skip(1) {
                let label = legend.split_once("}}").expect("the braces are closed").0;
                assert!(grouped.is_empty() || grouped.contains(&label), "{title}: {label} is not in {query}");
            }
            queries.push((title.to_owned(), query.to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("it has variables") {
        let name = variable["name"].as_str().expect("a variable has a name");
        if let Some(query) = variable["definition"].as_str() {
            queries.push((format!("${name}"), query.to_owned()));
        }
    }
    queries
}

fn queries_of_alerts() -> Vec<(String, String)> {
    let mut alert = "";
    let mut queries = Vec::new();
    for line in ALERTS.lines().map(str::trim) {
        alert = line.strip_prefix("- alert: ").unwrap_or(alert);
        queries.extend(line.strip_prefix("expr: ").map(|query| (alert.to_owned(), query.to_owned())));
    }
    queries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deployed_asks_for_what_there_is() {
    let gate = Gate::with(|text| with_routes(&text, ROUTES)).await;
    let ada = gate.signed_in("ada@example.com").await;
    for (path, status) in [("/", 200), ("/trial", 200), ("/closed", 403)] {
        assert_eq!(ada.clone().open(path).await.status, status, "{path}");
    }
    gate.recorder.answer_with("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ada.clone().open("/").await.status, 500);
    let metrics = exposed(&gate.admin("/metrics").await.body);

    let queries = [queries_of_dashboard(), queries_of_alerts()].concat();
    let missing: Vec<_> = queries
        .iter()
        .flat_map(|(place, query)| missing(query, &metrics).into_iter().map(move |it| format!("{place}: {it}")))
        .collect();
    assert_eq!(missing, [""; 0]);
    let asked_for: String = queries.iter().map(|(_, query)| query.as_str()).collect();
    let unseen = metrics.keys().filter(|name| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        !asked_for.contains(family.unwrap_or(name))
    });
    assert_eq!(unseen.collect::<Vec<_>>(), [""; 0], "nobody would see these");
}

#[test]
fn what_is_not_there_is_found() {
    let metrics = exposed("linkgate_a_total{kind=\"x\"} 1\nlinkgate_b 2\n");
    let cases = [
        ("sum by (kind) (rate(linkgate_a_total{kind=\"x\",job=~\"$job\"}[5m])) > linkgate_b", vec![]),
        ("linkgate_c", vec!["linkgate_c"]),
        ("linkgate_a_total{kind=\"y\"}", vec!["linkgate_a_total{kind=\"y\"}"]),
        ("linkgate_b{kind=\"x\"}", vec!["linkgate_b{kind=\"x\"}"]),
        ("sum by (job, sort) (linkgate_b)", vec!["by (sort) in sum by (job, sort) (linkgate_b)"]),
    ];
    for (query, expected) in cases {
        assert_eq!(missing(query, &metrics), expected, "{query}");
    }
}
