//! What is wrong with gateway.toml, in words for the operator: where, which setting, what was seen, what to do.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, or, as a warning, doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to the program.
    pub file: PathBuf,
    /// The line, from 1; `None` for what is nowhere in the file.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The dotted path of the setting, like `route[1].upstream`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The value as it is written; never one that may hold a secret.
    pub seen: Option<String>,
    /// One thing to do about it.
    pub hint: Option<String>,
    /// The dotted path of the setting that was probably meant: it is not missing, only misspelled.
    pub(super) meant: Option<String>,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: PathBuf, message: String, hint: Option<&str>) -> Self {
        let hint = hint.map(str::to_owned);
        Self { file, line: None, column: None, key: String::new(), message, seen: None, hint, meant: None }
    }

    /// The same problem for a name that was probably meant to be `setting`.
    #[must_use]
    pub(super) fn meant(mut self, setting: String) -> Self {
        self.meant = Some(setting);
        self
    }

    /// The same problem with a thing to do about it.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `gateway.toml:12:12: route[1].upstream: … (seen: "…")`, and the hint on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(seen) = &self.seen {
            write!(f, " (seen: {seen})")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Puts `problems` in the order of the file; what is nowhere in it comes first.
pub(super) fn in_order(problems: &mut [Problem]) {
    problems.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        in_order(&mut problems);
        Self(problems)
    }

    /// The problems one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
