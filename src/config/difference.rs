//! What is different in another configuration, in words for the operator: which setting, from what, to what.
//!
//! Sections are compared as the values that they are written as, so a new setting is told of without a line here. Only
//! routes have words of their own. Secrets are in neither configuration, only the places where they are kept.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::Config;

mod route;
mod words;

pub(super) use words::shown;
use words::{Subject, Way, label};

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    key: String,
    words: String,
    opens: bool,
}

impl Change {
    /// Whether it is about `setting` or something in it.
    pub fn is_of(&self, setting: &str) -> bool {
        is_of(&self.key, setting)
    }

    /// Whether somebody may now do what they could not.
    pub const fn opens(&self) -> bool {
        self.opens
    }

    /// The change with the mail addresses in it, which are not for logs.
    pub fn in_full(&self) -> &str {
        &self.words
    }
}

/// In words, and without mail addresses.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::without_addresses(&self.words))
    }
}

pub(super) fn is_of(key: &str, setting: &str) -> bool {
    key.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Everything that is different in `new`, in the order of the settings' names; routes come after all else.
pub fn difference(old: &Config, new: &Config) -> Vec<Change> {
    let (mut before, mut after) = (old.values(), new.values());
    let routes = [&mut before, &mut after].map(|values| values["route"].take());
    let mut found = Difference::default();
    found.compare(&Subject::Settings, "", &before, &after);
    for key in new.contents.changed(&old.contents) {
        found.note(key, format!("the content of {key} changed"));
    }
    let [before, after] = &routes;
    found.routes((before, &old.public_url), (after, &new.public_url));
    found.changes
}

/// What was found so far.
#[derive(Default)]
struct Difference {
    changes: Vec<Change>,
}

impl Difference {
    fn note(&mut self, key: &str, words: String) {
        self.changes.push(Change { key: key.to_owned(), words, opens: false });
    }

    /// Notes that more is allowed than before.
    fn warn(&mut self, key: &str, words: String) {
        self.changes.push(Change { key: key.to_owned(), words, opens: true });
    }

    fn tell(&mut self, subject: &Subject<'_>, key: &str, words: String, way: Way<'_>) {
        let opens = subject.opens(key, way);
        self.changes.push(Change { key: subject.key(key).to_owned(), words, opens });
    }

    /// Compares what `key` of `subject` is before and after.
    fn compare(&mut self, subject: &Subject<'_>, key: &str, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(before), Value::Object(after)) => self.tables(subject, key, before, after),
            (Value::Null, Value::Object(after)) if subject.is_route() => self.tables(subject, key, &Map::new(), after),
            (Value::Object(before), Value::Null) if subject.is_route() => {
                self.tables(subject, key, before, &Map::new());
            }
            (Value::Null, Value::Object(_)) => self.note(key, format!("[{key}] is new")),
            (Value::Object(_), Value::Null) => self.note(key, format!("[{key}] is gone")),
            (Value::Array(_), _) | (_, Value::Array(_)) if subject.is_rule(key, members(before), members(after)) => {
                let only = |rules| members(rules).first().cloned().unwrap_or_default();
                self.compare(subject, key, &only(before), &only(after));
            }
            (Value::Array(_), _) | (_, Value::Array(_)) => self.lists(subject, key, members(before), members(after)),
            _ => self.tell(subject, key, subject.is_other(key, before, after), Way::Becomes(after)),
        }
    }

    fn tables(&mut self, subject: &Subject<'_>, key: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let of = |table: &Map<String, Value>| table.get(name).cloned().unwrap_or_default();
            self.compare(subject, &key, &of(before), &of(after));
        }
    }

    /// Lists are sets, whose members are known by what they are called, until only their order is left to differ.
    fn lists(&mut self, subject: &Subject<'_>, key: &str, before: &[Value], after: &[Value]) {
        let noted = self.changes.len();
        let is_in = |list: &[Value], member: &Value| list.iter().any(|other| label(other) == label(member));
        for lost in before.iter().filter(|member| !is_in(after, member)) {
            self.tell(subject, key, subject.loses(key, lost), Way::Loses);
        }
        for member in after {
            match before.iter().find(|other| label(other) == label(member)) {
                None => self.tell(subject, key, subject.gains(key, member), Way::Gains),
                Some(other) => self.compare(subject, &format!("{key}[{}]", label(member)), other, member),
            }
        }
        if self.changes.len() == noted && !before.is_empty() && !after.is_empty() {
            self.note(subject.key(key), subject.is_reordered(key));
        }
    }
}

/// The members of a list; what stands alone is a list of one.
fn members(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(members) => members,
        alone => std::slice::from_ref(alone),
    }
}

#[cfg(test)]
mod tests;
