//! How an import says where it is: a line that is rewritten on a terminal, else one plain line now and then.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::output::say;
use super::SHOWN;
use super::progress::Progress;

/// Rows after which a plain line is due.
const ROWS: usize = 1000;

/// What is said about an import.
pub(super) struct Report {
    name: String,
    rows: usize,
    made: usize,
    there: usize,
    failures: Vec<(u64, String)>,
    is_terminal: bool,
    /// Rows that had come to an end when the last line was said.
    said_at: usize,
}

impl Report {
    pub(super) fn new(csv: &Path, progress: &Progress) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let name = csv.display().to_string();
        let (made, there) = (progress.made, progress.there);
        let said_at = made + there;
        Self { name, rows: progress.rows(), made, there, failures: Vec::new(), is_terminal, said_at }
    }

    /// How often [`Report::tick`] is to be called.
    pub(super) const fn interval(&self) -> Duration {
        if self.is_terminal { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }

    /// Counts a row that is done.
    pub(super) fn done(&mut self, is_new: bool) {
        *(if is_new { &mut self.made } else { &mut self.there }) += 1;
        if !self.is_terminal && self.ended() >= self.said_at + ROWS {
            self.tick();
        }
    }

    /// Counts a row that failed, and says why.
    pub(super) fn failed(&mut self, line: u64, message: String) {
        match self.failures.len() {
            ..SHOWN => self.remark(&format!("error: {}:{line}: {message}", self.name)),
            SHOWN => self.remark("error: further rows failed, which are counted only"),
            _ => {}
        }
        self.failures.push((line, message));
    }

    /// Says something beside the line that is rewritten.
    pub(super) fn remark(&self, text: &str) {
        let clear = if self.is_terminal { "\r\u{1b}[K" } else { "" };
        say(&format!("{clear}{text}\n"));
    }

    /// Says how far it is.
    pub(super) fn tick(&mut self) {
        self.said_at = self.ended();
        let line = self.line();
        say(&if self.is_terminal { format!("\r\u{1b}[K{line}") } else { format!("{line}\n") });
    }

    /// Says how it ended.
    pub(super) fn end(&self) {
        self.remark(&self.line());
    }

    pub(super) const fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The same for programs.
    pub(super) fn outcome(&self) -> Value {
        let failures = self.failures.iter().map(|(line, message)| json!({ "line": line, "message": message }));
        json!({
            "rows": self.rows, "imported": self.made + self.there, "added": self.made, "existing": self.there,
            "failed": failures.collect::<Vec<_>>(),
        })
    }

    const fn ended(&self) -> usize {
        self.made + self.there + self.failures.len()
    }

    fn line(&self) -> String {
        let Self { rows, made, there, .. } = self;
        let (imported, failed) = (made + there, self.failures.len());
        format!("imported {imported} of {rows} rows ({made} new, {there} there already, {failed} failed)")
    }
}
