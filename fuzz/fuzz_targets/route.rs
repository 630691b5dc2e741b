//! Routes: the one that is found fits, none that fits says more, and it does not matter in which order they stand.
//!
//! The input is text: a route per line, host and path, and behind an empty line requests of the same form.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use linkgate::proxy::canonical::CanonicalPath;
use linkgate_fuzz::table;
use serde_json::json;

fuzz_target!(|text: &str| {
    let Some((routes, requests)) = text.split_once("\n\n") else { return };
    // `check` refuses paths that no request could have, and the same one twice.
    let routes: BTreeSet<(String, String)> = routes.lines().filter_map(host_and_path).collect();
    let config = |(host, path): &(String, String)| json!({ "host": host, "path": path });
    let Ok(forwards) = table(routes.iter().map(config)) else { return };
    let Ok(backwards) = table(routes.iter().rev().map(config)) else { return };
    for (host, path) in requests.lines().filter_map(host_and_path) {
        let path = CanonicalPath::parse(path.as_bytes()).expect("a canonical path");
        let fits = |(at, below): &&(String, String)| *at == host && path.is_below(below);
        let longest = routes.iter().filter(fits).map(|(_, below)| below.trim_end_matches('/').len()).max();
        let found = forwards.find(&host, &path);
        assert_eq!(found.map(|route| route.path.len()), longest, "{host} {path:?} in {routes:?}");
        assert!(found.is_none_or(|route| path.is_below(&route.path) && route.name.starts_with(&host)), "{found:?}");
        let again = backwards.find(&host, &path);
        assert_eq!(found.map(|route| &route.name), again.map(|route| &route.name), "{host} {path:?} in {routes:?}");
    }
});

/// Host and path of a line where both are in their canonical form and the path has no slash at its end.
fn host_and_path(line: &str) -> Option<(String, String)> {
    let (host, path) = line.split_once(' ')?;
    let host = linkgate::origin::Authority::parse(host).filter(|found| found.host == host && found.port.is_none())?;
    let path = CanonicalPath::parse(path.as_bytes()).ok()?;
    let path = path.as_str();
    Some((host.host, if path == "/" { path } else { path.trim_end_matches('/') }.to_owned()))
}
