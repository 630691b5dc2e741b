//! How commands speak: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde_json::Value;

/// Says why something failed, with its causes and one thing to do about it.
pub(super) fn fail(error: &dyn std::error::Error, hint: Option<&str>, code: u8) -> ExitCode {
    let mut text = format!("failed to {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    refuse(text.trim_end(), hint, code)
}

/// Says what stands in the way, in other words than an error's.
pub(super) fn refuse(what: &str, hint: Option<&str>, code: u8) -> ExitCode {
    let hint = hint.map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
    say(&format!("error: {what}\n{hint}"));
    ExitCode::from(code)
}

/// Prints what was asked for. A reader who has left (`| head`) is no failure.
pub(super) fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// Prints one JSON value on a line.
pub(super) fn print_json(value: &Value) {
    print(&format!("{value}\n"));
}

/// Says something to the person or the log behind standard error.
pub(super) fn say(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}

/// `1 problem`, `2 problems`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Rows in aligned columns; what others wrote cannot reach the terminal's controls.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A stranger's text on one line.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// Asks before something that cannot be undone; `assumed` is the answer of `--yes`.
///
/// # Errors
/// With the exit code when the answer is no, or nobody can be asked.
pub(super) fn confirm(question: &str, assumed: bool) -> Result<(), ExitCode> {
    if assumed {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(refuse("nobody can be asked whether this is meant", Some("say `--yes`"), super::WRONG));
    }
    say(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok();
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    say("nothing was changed\n");
    Err(ExitCode::from(super::FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_controls_do_not_pass() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["ID", "NAME", "STATUS"]), row(["u1", "Zoë \u{1b}[31m", "active"]), row(["u22", "", ""])];
        assert_eq!(table(&rows), "ID   NAME       STATUS\nu1   Zoë \u{fffd}[31m  active\nu22\n");
        assert_eq!(table(&[]), "");
    }
}
