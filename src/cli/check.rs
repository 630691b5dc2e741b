//! `linkgate check`: every problem of the configuration at once, with its place.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::WRONG;
use super::output::{counted, print};
use crate::config::{Config, Problem, Purpose};

pub(super) fn check(file: &Path, purpose: Purpose, json: bool) -> ExitCode {
    let loaded = Config::load_for(purpose, file);
    let (problems, warnings): (Vec<&Problem>, &[Problem]) = match &loaded {
        Ok(config) => (Vec::new(), config.warnings()),
        Err(problems) => (problems.iter().collect(), &[]),
    };
    if json {
        let shown = |problem: &Problem| {
            json!({
                "line": problem.line, "column": problem.column, "key": problem.key,
                "message": problem.message, "seen": problem.seen, "hint": problem.hint,
            })
        };
        let report = json!({
            "file": file,
            "problems": problems.iter().map(|problem| shown(problem)).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(shown).collect::<Vec<_>>(),
        });
        print(&format!("{report}\n"));
    } else {
        for problem in &problems {
            print(&format!("error: {problem}\n"));
        }
        for warning in warnings {
            print(&format!("warning: {warning}\n"));
        }
        let file = file.display();
        match (problems.len(), warnings.len()) {
            (0, 0) => print(&format!("{file}: fine\n")),
            (0, count) => print(&format!("{file}: fine, with {}\n", counted(count, "warning"))),
            (count, _) => print(&format!("{file}: {}\n", counted(count, "problem"))),
        }
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}
