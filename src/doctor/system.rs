//! What the file says that is doubtful, and what the system allows.

use super::Finding;
use crate::config::Config;

/// What `linkgate check` warns of: secrets that others can read, proxies that are trusted too widely, and the like.
pub(super) fn warnings(config: &Config) -> Vec<Finding> {
    let warnings = config.warnings().iter();
    warnings.map(|warning| Finding::warn("configuration", warning.to_string()).change(warning.key.clone())).collect()
}

/// Files that are open beside connections: the store, logs, listeners.
const SPARE: u64 = 64;

/// Whether the connections that `limits.connections` allows can be open at once. Only Linux says so.
pub(super) fn open_files(config: &Config) -> Option<Finding> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let connections = u64::try_from(config.limits.connections).unwrap_or(u64::MAX);
    judge(hard_limit(&limits)?, connections)
}

fn judge(limit: u64, connections: u64) -> Option<Finding> {
    const CHECK: &str = "open files";
    // Each visitor's connection may have one to an application behind it.
    let needed = connections.saturating_mul(2).saturating_add(SPARE);
    if limit >= needed {
        return Some(Finding::ok(CHECK, format!("{limit} may be open, {needed} are needed")));
    }
    let message = format!(
        "{limit} may be open, and {connections} connections need {needed}; raise the limit (`ulimit -Hn`, or \
         `LimitNOFILE=` for systemd)"
    );
    Some(Finding::warn(CHECK, message).change("limits.connections"))
}

/// The hard limit in `/proc/self/limits`, up to which the gateway raises its own; no limit is the largest number.
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn the_limit_is_read_and_judged() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n";
        assert_eq!(hard_limit(text), Some(524_288));
        assert_eq!(hard_limit("Max open files            1024            unlimited            files"), Some(u64::MAX));
        assert_eq!(hard_limit("Max processes 1 1 processes"), None);
        let status = |limit, connections| judge(limit, connections).map(|finding| finding.status);
        assert_eq!(status(1024, 480), Some(Status::Ok));
        assert_eq!(status(1024, 481), Some(Status::Warn));
    }
}
