//! `linkgate diff`: what another configuration would change, in words, and what of it waits for a restart.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::load;
use super::output::{plain, print, print_json};
use crate::config::{Change, Purpose};
use crate::gateway::Reloaded;

/// Compares the file at `file` with the one at `new`.
pub(super) fn difference(file: &Path, new: &Path, json: bool) -> ExitCode {
    let (old, new) = match (load(file, Purpose::Gateway), load(new, Purpose::Gateway)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let compared = Reloaded::expected(&old, &new);
    if json {
        let told = |changes: &[Change]| {
            let told = changes.iter().map(|change| json!({ "words": change.in_full(), "opens": change.opens() }));
            told.collect::<Vec<_>>()
        };
        print_json(&json!({ "applied": told(&compared.applied), "waiting": told(&compared.waiting) }));
        return ExitCode::SUCCESS;
    }
    for change in &compared.applied {
        print(&line(change, ""));
    }
    for change in &compared.waiting {
        print(&line(change, ", after a restart"));
    }
    if compared.applied.is_empty() && compared.waiting.is_empty() {
        print("nothing changes\n");
    }
    ExitCode::SUCCESS
}

/// One change on a line; `when` says what it waits for.
pub(super) fn line(change: &Change, when: &str) -> String {
    let mark = if change.opens() { " (allows more than before)" } else { "" };
    format!("{}{when}{mark}\n", plain(change.in_full()))
}
