//! Where every setting stands in the file: dotted paths to lines and columns.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// The places of all settings as they were written, before anything was taken out.
pub(super) struct Places<'t> {
    file: &'t Path,
    text: &'t str,
    entries: BTreeMap<String, Entry>,
}

/// Where one setting stands.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name, where the setting has one of its own: an element of a list has none.
    key: Option<Range<usize>>,
    /// The value; of a `[table]` its header.
    pub(super) value: Range<usize>,
    /// How far below the root, which tells a list of tables from its first element: both begin at one header.
    pub(super) depth: usize,
    is_scalar: bool,
}

/// Which of several settings at one place is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefer {
    Outer,
    Inner,
}

impl<'t> Places<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str, root: &DeTable<'_>) -> Self {
        let mut places = Self { file, text, entries: BTreeMap::new() };
        places.add_table("", root, 0);
        places
    }

    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>, depth: usize) {
        for (key, value) in table {
            self.add(join(prefix, key.get_ref()), Some(key.span()), value, depth);
        }
    }

    fn add(&mut self, path: String, key: Option<Range<usize>>, value: &Spanned<DeValue<'_>>, depth: usize) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(&path, table, depth + 1),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.add(format!("{path}[{at}]"), None, item, depth + 1);
                }
            }
            _ => {}
        }
        let is_scalar = !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
        self.entries.insert(path, Entry { key, value: value.span(), depth, is_scalar });
    }

    /// Whether the file says anything about `path`, right or wrong.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Whether `path` is a `[section]` with a header line of its own.
    pub(super) fn is_header(&self, path: &str) -> bool {
        let Some(before) = self.entries.get(path).and_then(|entry| self.text.get(..entry.value.start)) else {
            return false;
        };
        before.chars().rev().find(|c| !c.is_whitespace() || *c == '\n').is_none_or(|c| c == '\n')
    }

    /// The smallest setting whose name or value covers `span`, and whether it is the name that does.
    pub(super) fn find(&self, span: &Range<usize>, prefer: Prefer) -> Option<(&str, &Entry, bool)> {
        let covers = |range: &Range<usize>| range.start <= span.start && span.end <= range.end;
        let sizes = self.entries.iter().filter_map(|(path, entry)| {
            let by_key = entry.key.as_ref().filter(|key| covers(key)).map(|key| (key.len(), true));
            let by_value = covers(&entry.value).then_some((entry.value.len(), false));
            let (size, is_key) = by_key.into_iter().chain(by_value).min()?;
            Some((path.as_str(), entry, is_key, size))
        });
        let found = match prefer {
            Prefer::Outer => sizes.min_by_key(|(_, entry, _, size)| (*size, entry.depth)),
            Prefer::Inner => sizes.min_by_key(|(_, entry, _, size)| (*size, Reverse(entry.depth))),
        };
        found.map(|(path, entry, is_key, _)| (path, entry, is_key))
    }

    /// The elements of the list `path`, first to last.
    pub(super) fn elements(&self, path: &str) -> Vec<(&str, &Entry)> {
        let numbered = (0..).map(|at| self.entries.get_key_value(&format!("{path}[{at}]")));
        numbered.map_while(|found| found.map(|(path, entry)| (path.as_str(), entry))).collect()
    }

    /// The path of the element of `list` whose value is at `span`.
    pub(super) fn element(&self, list: &str, span: &Range<usize>) -> Option<&str> {
        self.elements(list).into_iter().find(|(_, entry)| entry.value == *span).map(|(path, _)| path)
    }

    /// A problem of the setting `path`: at its value, or at the table that lacks it.
    pub(super) fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let mut found = path;
        while !found.is_empty() && !self.has(found) {
            found = parent(found);
        }
        let entry = self.entries.get(found);
        let seen = entry.filter(|entry| found == path && entry.is_scalar).and_then(|entry| self.seen(path, entry));
        self.at(entry.map(|entry| entry.value.start), path, message, seen)
    }

    /// A problem with the name of a setting. What stands there is not shown: it may be anything.
    pub(super) fn problem_of_name(&self, path: &str, message: impl Into<String>) -> Problem {
        let entry = self.entries.get(path);
        self.at(entry.map(|entry| entry.key.as_ref().unwrap_or(&entry.value).start), path, message, None)
    }

    /// A problem at the byte `offset`.
    pub(super) fn at(
        &self,
        offset: Option<usize>,
        key: &str,
        message: impl Into<String>,
        seen: Option<String>,
    ) -> Problem {
        let (line, column) = offset.map(|offset| line_and_column(self.text, offset)).unzip();
        Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
            seen,
            hint: None,
            meant: None,
        }
    }

    /// The line of `path`, to speak of it in another problem.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        self.entries.get(path).map(|entry| line_and_column(self.text, entry.value.start).0)
    }

    /// The lines of everything about routes, to be spoken of later.
    pub(super) fn of_routes(&self) -> Lines {
        let routes = self.entries.iter().filter(|(path, _)| path.starts_with("route["));
        Lines(Arc::new(routes.filter_map(|(path, _)| Some((path.clone(), self.line(path)?))).collect()))
    }

    /// The value as it is written, cut and on one line, unless it may hold a secret.
    fn seen(&self, path: &str, entry: &Entry) -> Option<String> {
        const LONGEST: usize = 80;
        let raw = self.text.get(entry.value.clone())?;
        let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
        let is_secret = ["secret", "password", "token", "credential"].iter().any(|word| name.contains(word));
        // A URL with a user part, like `redis://:password@host`, complete or not.
        let has_user = raw.contains(':') && raw.contains('@');
        // A key that was pasted where its file belongs.
        let is_key = raw.contains("PRIVATE KEY");
        if is_secret || has_user || is_key {
            return None;
        }
        let mut seen: String = raw.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if raw.chars().nth(LONGEST).is_some() {
            seen.push('…');
        }
        Some(seen)
    }
}

/// Lines of settings, by their dotted names.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<BTreeMap<String, usize>>);

impl Lines {
    /// The line of a setting. One rule may stand alone, without a list around it.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        self.0.get(path).or_else(|| self.0.get(path.strip_suffix("[0]")?)).copied()
    }
}

/// Line and column of a byte, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// `name` below `prefix`, in quotes where TOML needs them.
pub(super) fn join(prefix: &str, name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let name = if is_bare { name.to_owned() } else { format!("{name:?}") };
    if prefix.is_empty() { name } else { format!("{prefix}.{name}") }
}

fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).map_or("", |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_in_characters() {
        let check = |text, offset, expected| assert_eq!(line_and_column(text, offset), expected, "{text:?} {offset}");
        check("", 0, (1, 1));
        check("a = 1", 4, (1, 5));
        check("a = 1\nb", 6, (2, 1));
        check("a = 1\r\nb", 7, (2, 1));
        check("é = 1", 3, (1, 3));
        check("a", 99, (1, 2));
    }

    #[test]
    fn what_may_hold_a_secret_is_not_shown() {
        let seen = |text: &str, path: &str| {
            let table = DeTable::parse(text).expect("the text is TOML");
            Places::new(Path::new("gateway.toml"), text, table.get_ref()).problem(path, "").seen
        };
        assert_eq!(seen("a = \"x\"", "a"), Some("\"x\"".to_owned()));
        assert_eq!(seen("a = 5", "a"), Some("5".to_owned()));
        assert_eq!(seen("a = \"redis://:hunter2@host\"", "a"), None);
        assert_eq!(seen("client_secret_env = \"hunter2\"", "client_secret_env"), None);
        assert_eq!(seen("a = '''-----BEGIN PRIVATE KEY-----\nhunter2'''", "a"), None);
        assert_eq!(seen("[a]\nb = 1", "a"), None);
        assert_eq!(seen("a = '''x\ny'''", "a"), Some("'''x y'''".to_owned()));
        let long = format!("a = '{}'", "x".repeat(200));
        assert_eq!(seen(&long, "a"), Some(format!("'{}…", "x".repeat(79))));
    }

    #[test]
    fn a_missing_setting_is_placed_at_its_table() {
        let text = "[[route]]\nupstream = 'demo'\n\n[[route]]\npath = '/x'\n";
        let table = DeTable::parse(text).expect("the text is TOML");
        let places = Places::new(Path::new("gateway.toml"), text, table.get_ref());
        assert_eq!(places.problem("route[1].upstream", "is missing").line, Some(4));
        assert_eq!(places.problem("route[1].path", "is wrong").column, Some(8));
        assert_eq!(places.problem("public_url", "is missing").line, None);
    }
}
