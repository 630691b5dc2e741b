//! How commands speak: results to standard output, everything else to standard error.

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Says why something failed, with its causes and one thing to do about it.
pub(super) fn fail(error: &dyn std::error::Error, hint: Option<String>, code: u8) -> ExitCode {
    let mut text = format!("error: failed to {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    if let Some(hint) = hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    say(&text);
    ExitCode::from(code)
}

/// Prints what was asked for. A reader who has left (`| head`) is no failure.
pub(super) fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// Says something to the person or the log behind standard error.
pub(super) fn say(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}

/// `1 problem`, `2 problems`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
