//! `linkgate doctor`: what is wrong with the live set-up, and where to change it.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{plain, print, print_json};
use super::{FAILED, WRONG, administration::with_loaded, any, load_any};
use crate::clock::Clock;
use crate::config::Problem;
use crate::doctor::{self, Finding, Status};

/// Looks at everything and says what was found.
pub(super) fn doctor(file: &Path, json: bool) -> ExitCode {
    let loaded = if json { any(file).map_err(|problems| as_findings(problems.iter())) } else { load_any(file) };
    let config = match loaded {
        Ok(config) => config,
        Err(code) => return code,
    };
    with_loaded(&config, async |config| {
        let findings = doctor::examine(config, &Clock::system()).await;
        if json {
            print_json(&json!(findings));
        } else {
            findings.iter().for_each(|finding| print(&lines(finding)));
        }
        let is_well = findings.iter().all(|finding| finding.status != Status::Fail);
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    })
}

/// A configuration that does not load, in the form of findings.
fn as_findings<'a>(problems: impl Iterator<Item = &'a Problem>) -> ExitCode {
    let shown = |problem: &Problem| {
        let setting = Some(&problem.key).filter(|key| !key.is_empty());
        json!({
            "check": "configuration", "status": Status::Fail, "message": problem.to_string(), "setting": setting,
        })
    };
    print_json(&problems.map(shown).collect::<Vec<Value>>().into());
    ExitCode::from(WRONG)
}

fn lines(finding: &Finding) -> String {
    let status = match finding.status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Fail => "fail",
    };
    let message = finding.message.lines().map(plain).collect::<Vec<_>>().join("\n      ");
    let change = finding.setting.as_ref().map(|setting| format!("      change: {setting}\n")).unwrap_or_default();
    format!("{status:<5} {:<15}  {message}\n{change}", finding.check)
}
