//! `linkgate users import`: the users of a CSV file (RFC 4180), many calls at a time.
//!
//! The whole file is looked through first, so that a wrong column costs no call. What is done is noted beside the file,
//! and a run that was stopped goes on there. That a user is there already is as good as a new one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::administration::{open_users, with_config};
use super::output::{counted, fail, print_json, refuse, say};
use super::users::AT_MOSAIC;
use super::{FAILED, WRONG};
use crate::config::Config;
use crate::gateway::administration::Users;

mod columns;
mod progress;
mod report;
mod sheet;
mod work;

use progress::Progress;
use report::Report;
use sheet::{Row, Sheet};
use work::Stopped;

/// Problems that are shown; a file of the wrong kind has one in each row.
const SHOWN: usize = 100;

/// What is to be imported, and how.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file. Its first line names the columns: email, first_name, last_name, name, phone_number, username,
    /// external_user_id, language, groups, roles (several separated by ";"), custom_data.KEY, custom_app_data.KEY
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Look the file through and call nobody
    #[arg(long)]
    dry_run: bool,
    /// Calls at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Stop at the first row that fails
    #[arg(long)]
    stop_on_error: bool,
    /// Begin with the first row again, whatever an earlier run did
    #[arg(long)]
    restart: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Does what is asked for.
pub(super) fn import(config: &Path, arguments: &Arguments) -> ExitCode {
    with_config(config, async |config| {
        let sheet = read(config, &arguments.file)?;
        if arguments.dry_run {
            return Ok(look_through(&sheet, arguments));
        }
        let users = open_users(config).await?;
        run(&users, &sheet, arguments).await
    })
}

fn read(config: &Config, file: &Path) -> Result<Sheet, ExitCode> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| refuse(&format!("cannot read {name}: {error}"), None, WRONG))?;
    let sheet = Sheet::read(&bytes).map_err(|wrong| refuse(&format!("{name}: {wrong}"), wrong.hint(), WRONG))?;
    match sheet.issuer_only {
        Some(column) if config.mosaic.is_some() => {
            let what = format!("{name}: the column `{column}` works with the built-in issuer only");
            Err(refuse(&what, Some(AT_MOSAIC), WRONG))
        }
        _ => Ok(sheet),
    }
}

/// Says everything that is wrong in the file.
fn look_through(sheet: &Sheet, arguments: &Arguments) -> ExitCode {
    let problems: Vec<(u64, &str)> =
        sheet.rows.iter().filter_map(|row| Some((row.line, row.user.as_ref().err()?.as_str()))).collect();
    let name = arguments.file.display();
    for (line, problem) in problems.iter().take(SHOWN) {
        say(&format!("error: {name}:{line}: {problem}\n"));
    }
    if problems.len() > SHOWN {
        say(&format!("and {} more\n", counted(problems.len() - SHOWN, "problem")));
    }
    let rows = counted(sheet.rows.len(), "row");
    say(&match problems.len() {
        0 => format!("{name}: {rows}, all fine; nobody was called\n"),
        count => format!("{name}: {rows}, {} wrong; nobody was called\n", counted(count, "row")),
    });
    if arguments.json {
        let problems: Vec<_> =
            problems.iter().map(|(line, message)| json!({ "line": line, "message": message })).collect();
        print_json(&json!({ "rows": sheet.rows.len(), "problems": problems }));
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

async fn run(users: &Users, sheet: &Sheet, arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let mut progress =
        Progress::begin(&arguments.file, &sheet.content, &users.place, sheet.rows.len(), arguments.restart);
    let mut report = Report::new(&arguments.file, &progress);
    let stopped = work::import(users, sheet, arguments, &mut progress, &mut report).await;
    progress.end();
    report.end();
    if arguments.json {
        print_json(&report.outcome());
    }
    let on = "run the same command again to go on where this one stopped";
    match stopped {
        Some(Stopped::ByTheOperator) => Err(refuse("stopped before the end of the file", Some(on), FAILED)),
        Some(Stopped::ByARow) => {
            Err(refuse("stopped at a row that failed, as `--stop-on-error` asks", Some(on), FAILED))
        }
        Some(Stopped::By(error)) => Err(fail(&error, Some(on), FAILED)),
        None if report.has_failures() => Ok(ExitCode::from(FAILED)),
        None => Ok(ExitCode::SUCCESS),
    }
}
