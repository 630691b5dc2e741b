//! `docs/troubleshooting.md` has every code that the gateway answers with, and no other.

use std::collections::BTreeSet;

const ANSWERS: &str = include_str!("../../src/portal/answer.rs");
const DEVICE: &str = include_str!("../../src/portal/device.rs");
const DOCUMENTED: &str = include_str!("../../docs/troubleshooting.md");

/// What stands in quotes behind `=> ` in the function that names refusals.
fn refusals() -> BTreeSet<&'static str> {
    let (_, names) = ANSWERS.split_once("pub const fn code(self) -> &'static str {").unwrap();
    let (names, _) = names.split_once("\n    }\n").unwrap();
    names.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// What terminals that sign in are told.
fn of_terminals() -> BTreeSet<&'static str> {
    DEVICE.split("failed(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn every_code_is_explained_once() {
    let rows = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| row.split('`').next().unwrap());
    let rows: Vec<&str> = rows.collect();
    let explained: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(explained.len(), rows.len(), "a code is explained twice");
    let answered: BTreeSet<&str> = refusals().union(&of_terminals()).copied().collect();
    assert!(answered.len() > 30, "{answered:?}");
    assert_eq!(explained, answered);
}
