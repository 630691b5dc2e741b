//! The message catalogue: every text that people see, by key, with `{placeholders}`.
//!
//! Messages are plain text. They and their values are escaped for the place where they are shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;

/// The language that has every message.
pub(super) const ENGLISH: &str = "en";

const LANGUAGES: &[(&str, &str)] = &[(ENGLISH, include_str!("../../locales/en.toml"))];

/// The messages of every language.
#[derive(Debug)]
pub(super) struct Catalogue {
    languages: BTreeMap<&'static str, BTreeMap<String, String>>,
    missing: AtomicU64,
}

impl Catalogue {
    /// The languages that are compiled in.
    pub(super) fn embedded() -> Result<Self, Error> {
        Self::read(LANGUAGES)
    }

    fn read(sources: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut languages = BTreeMap::new();
        for &(language, source) in sources {
            let table = toml::from_str(source).map_err(|source| Error::Messages { language, source })?;
            let mut messages = BTreeMap::new();
            flatten(String::new(), toml::Value::Table(table), &mut messages);
            languages.insert(language, messages);
        }
        Ok(Self { languages, missing: AtomicU64::new(0) })
    }

    /// The message of `key`; `n` chooses between its `one` and `other` where it has both.
    ///
    /// What a language lacks is taken from English and counted; what English lacks is shown as its key.
    pub(super) fn message<'a>(&'a self, language: &str, key: &'a str, n: Option<i64>) -> &'a str {
        if let Some(message) = self.find(language, key, n) {
            return message;
        }
        self.missing.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(language, key, "a message is missing");
        self.find(ENGLISH, key, n).unwrap_or(key)
    }

    fn find(&self, language: &str, key: &str, n: Option<i64>) -> Option<&str> {
        let messages = self.languages.get(language)?;
        let form = if n == Some(1) { "one" } else { "other" };
        let message = messages.get(key).or_else(|| messages.get(&format!("{key}.{form}")));
        message.map(String::as_str)
    }

    /// How many messages were asked for and not there.
    pub(super) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.languages[ENGLISH].keys().map(String::as_str)
    }
}

fn flatten(key: String, value: toml::Value, messages: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(key, value, messages);
            }
        }
        toml::Value::String(text) => {
            messages.insert(key, text);
        }
        other => {
            messages.insert(key, other.to_string());
        }
    }
}

/// One part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Splits a message at its placeholders. A brace without its partner is text.
pub(super) fn pieces(message: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = message;
    while let Some((text, name, after)) = next_placeholder(rest) {
        pieces.extend([Piece::Text(text), Piece::Placeholder(name)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn next_placeholder(message: &str) -> Option<(&str, &str, &str)> {
    let (text, rest) = message.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((text, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_a_language_lacks_is_english_and_counted() {
        let sources =
            [("en", "a.b = \"hello\"\n[c]\none = \"{n} hour\"\nother = \"{n} hours\""), ("de", "a.b = \"hallo\"")];
        let catalogue = Catalogue::read(&sources).expect("the messages are well formed");
        assert_eq!(catalogue.message("de", "a.b", None), "hallo");
        assert_eq!(catalogue.missing(), 0);
        assert_eq!(catalogue.message("de", "c", Some(1)), "{n} hour");
        assert_eq!(catalogue.message("en", "c", Some(2)), "{n} hours");
        assert_eq!(catalogue.missing(), 1);
        assert_eq!(catalogue.message("en", "nowhere", None), "nowhere");
        assert_eq!(catalogue.missing(), 2);
    }

    #[test]
    fn messages_are_split_at_their_placeholders() {
        let check = |message: &'static str, expected: &[Piece<'_>]| assert_eq!(pieces(message), expected, "{message}");
        use Piece::{Placeholder, Text};
        check("plain", &[Text("plain")]);
        check("to {app}.", &[Text("to "), Placeholder("app"), Text(".")]);
        check("{a}{b}", &[Text(""), Placeholder("a"), Text(""), Placeholder("b"), Text("")]);
        check("{open", &[Text("{open")]);
    }

    #[test]
    fn broken_messages_are_refused() {
        assert!(matches!(Catalogue::read(&[("en", "a = ")]), Err(Error::Messages { language: "en", .. })));
    }
}
