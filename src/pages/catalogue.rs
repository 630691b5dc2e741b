//! The message catalogue: every text that people see, by key, with `{placeholders}`.
//!
//! Messages are plain text. They and their values are escaped for the place where they are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Error, Language};
use crate::telemetry::Metrics;

const SOURCES: &[(Language, &str)] = &[
    (Language::English, include_str!("../../locales/en.toml")),
    (Language::German, include_str!("../../locales/de.toml")),
    (Language::French, include_str!("../../locales/fr.toml")),
    (Language::Spanish, include_str!("../../locales/es.toml")),
    (Language::Hebrew, include_str!("../../locales/he.toml")),
];

/// The messages of every language.
#[derive(Debug)]
pub(super) struct Catalogue {
    languages: BTreeMap<Language, BTreeMap<String, String>>,
    missing: AtomicU64,
    /// Where they are counted as well, once there is such a place.
    metrics: OnceLock<Arc<Metrics>>,
}

impl Catalogue {
    /// The languages that are compiled in.
    pub(super) fn embedded() -> Result<Self, Error> {
        // They never change, and reading them takes longer than all else about pages.
        static READ: OnceLock<BTreeMap<Language, BTreeMap<String, String>>> = OnceLock::new();
        if let Some(languages) = READ.get() {
            return Ok(Self { languages: languages.clone(), missing: AtomicU64::new(0), metrics: OnceLock::new() });
        }
        let catalogue = Self::read(SOURCES)?;
        #[cfg(test)]
        let catalogue = tests::with_pseudo_languages(catalogue);
        READ.get_or_init(|| catalogue.languages.clone());
        Ok(catalogue)
    }

    fn read(sources: &[(Language, &str)]) -> Result<Self, Error> {
        let mut languages = BTreeMap::new();
        for &(language, source) in sources {
            let table =
                toml::from_str(source).map_err(|source| Error::Messages { language: language.tag(), source })?;
            let mut messages = Vec::new();
            flatten(String::new(), toml::Value::Table(table), &mut messages);
            let text = |value| match value {
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            languages.insert(language, messages.into_iter().map(|(key, value)| (key, text(value))).collect());
        }
        Ok(Self { languages, missing: AtomicU64::new(0), metrics: OnceLock::new() })
    }

    /// Puts the operator's messages in place of its own, as far as nothing is wrong with them.
    pub(super) fn replace(&mut self, texts: &Texts) {
        for (language, key, text) in own(texts) {
            if self.problem(language, &key, &text).is_none()
                && let (Some(messages), toml::Value::String(text)) = (self.languages.get_mut(&language), text)
            {
                messages.insert(key, text);
            }
        }
    }

    /// What is wrong with the operator's messages, each with its setting below `theme`.
    pub(super) fn problems(&self, texts: &Texts) -> Vec<(String, Error)> {
        let problem = |(language, key, text): (Language, String, toml::Value)| {
            let reason = self.problem(language, &key, &text)?;
            Some((format!("texts.{}.{key}", language.tag()), Error::Text { reason }))
        };
        own(texts).filter_map(problem).collect()
    }

    fn problem(&self, language: Language, key: &str, text: &toml::Value) -> Option<String> {
        let messages = self.languages.get(&language)?;
        let Some(ours) = messages.get(key) else {
            let alike = messages.keys().map(|known| (strsim::jaro_winkler(known, key), known));
            let near = alike.max_by(|one, two| one.0.total_cmp(&two.0)).filter(|(likeness, _)| *likeness > 0.8);
            let near = near.map_or_else(String::new, |(_, near)| format!("; did you mean `{near}`?"));
            return Some(format!("there is no message `{key}`{near}"));
        };
        let toml::Value::String(text) = text else { return Some("expected a text in quotes".to_owned()) };
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Some("expected some words on one line".to_owned());
        }
        let known = placeholders(ours);
        let unknown = placeholders(text).into_iter().find(|name| !known.contains(name))?;
        let known: Vec<String> = known.into_iter().map(|name| format!("{{{name}}}")).collect();
        let may = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Some(format!("it has no value {{{unknown}}}; the values of this message are: {may}"))
    }

    /// The message of `key`; `n` chooses between its forms where it has several.
    ///
    /// What a language lacks is taken from English and counted; what English lacks is shown as its key.
    pub(super) fn message<'a>(&'a self, language: Language, key: &'a str, n: Option<i64>) -> &'a str {
        if let Some(message) = self.find(language, key, n) {
            return message;
        }
        self.missing.fetch_add(1, Ordering::Relaxed);
        if let Some(metrics) = self.metrics.get() {
            metrics.message_missing(language.tag());
        }
        tracing::warn!(language = language.tag(), key, "a message is missing");
        self.find(Language::English, key, n).unwrap_or(key)
    }

    fn find(&self, language: Language, key: &str, n: Option<i64>) -> Option<&str> {
        let messages = self.languages.get(&language)?;
        let form = n.map_or("other", |n| language.form(n));
        let message = messages.get(key).or_else(|| messages.get(&format!("{key}.{form}")));
        message.map(String::as_str)
    }

    /// Has missing messages counted there too.
    pub(super) fn count_in(&self, metrics: &Arc<Metrics>) {
        for language in Language::ALL {
            metrics.language(language.tag());
        }
        // Whoever asks a second time has the same metrics.
        drop(self.metrics.set(Arc::clone(metrics)));
    }

    /// How many messages were asked for and not there.
    pub(super) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.languages[&Language::English].keys().map(String::as_str)
    }
}

/// `[theme.texts]`: messages by language, in the tables of `locales/`.
pub(super) type Texts = BTreeMap<Language, toml::Table>;

fn own(texts: &Texts) -> impl Iterator<Item = (Language, String, toml::Value)> {
    texts.iter().flat_map(|(language, table)| {
        let mut messages = Vec::new();
        flatten(String::new(), toml::Value::Table(table.clone()), &mut messages);
        messages.into_iter().map(|(key, text)| (*language, key, text))
    })
}

fn flatten(key: String, value: toml::Value, messages: &mut Vec<(String, toml::Value)>) {
    let toml::Value::Table(table) = value else { return messages.push((key, value)) };
    for (name, value) in table {
        let key = if key.is_empty() { name } else { format!("{key}.{name}") };
        flatten(key, value, messages);
    }
}

/// The names between braces.
fn placeholders(message: &str) -> BTreeSet<&str> {
    let name = |piece| match piece {
        Piece::Placeholder(name) => Some(name),
        Piece::Text(_) => None,
    };
    pieces(message).into_iter().filter_map(name).collect()
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

    /// The catalogue with English in letters that nobody writes in a template, and a third longer.
    pub(super) fn with_pseudo_languages(mut catalogue: Catalogue) -> Catalogue {
        let letters = "ȧƀƈḓḗƒɠħīĵķŀḿƞǿƥɋřşŧŭṽẇẋẏẑ";
        let swap = |sign: char| match sign {
            'a'..='z' => letters.chars().nth(sign as usize - 'a' as usize).unwrap_or(sign),
            'A'..='Z' => letters.to_uppercase().chars().nth(sign as usize - 'A' as usize).unwrap_or(sign),
            sign => sign,
        };
        let stretch = |message: &String| {
            let swapped = pieces(message).into_iter().map(|piece| match piece {
                Piece::Text(text) => text.chars().map(swap).collect(),
                Piece::Placeholder(name) => format!("{{{name}}}"),
            });
            let longer = "·".repeat(message.chars().count() / 3);
            format!("⟦{}{longer}⟧", swapped.collect::<String>())
        };
        let english = &catalogue.languages[&Language::English];
        let stretched: BTreeMap<_, _> = english.iter().map(|(key, message)| (key.clone(), stretch(message))).collect();
        catalogue.languages.insert(Language::Mirrored, stretched.clone());
        catalogue.languages.insert(Language::Stretched, stretched);
        catalogue
    }

    #[test]
    fn a_message_that_a_language_lacks_is_english_and_counted() {
        use Language::{English, German};
        let sources =
            [(English, "a.b = \"hello\"\n[c]\none = \"{n} hour\"\nother = \"{n} hours\""), (German, "a.b = \"hallo\"")];
        let catalogue = Catalogue::read(&sources).expect("the messages are well formed");
        assert_eq!(catalogue.message(German, "a.b", None), "hallo");
        let metrics = Arc::new(Metrics::new().expect("the metrics are well formed"));
        catalogue.count_in(&metrics);
        assert_eq!(catalogue.missing(), 0);
        assert_eq!(catalogue.message(German, "c", Some(1)), "{n} hour");
        assert_eq!(catalogue.message(English, "c", Some(2)), "{n} hours");
        assert_eq!(catalogue.missing(), 1);
        assert_eq!(catalogue.message(English, "nowhere", None), "nowhere");
        assert_eq!(catalogue.missing(), 2);
        for (language, count) in [("de", 1), ("en", 1), ("fr", 0)] {
            let line = format!("linkgate_messages_missing_total{{language=\"{language}\"}} {count}\n");
            assert!(metrics.render().contains(&line), "{line}");
        }
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

    /// A message's placeholders, and the key without the form.
    fn shape<'a>(key: &'a str, message: &'a str) -> (&'a str, BTreeSet<&'a str>) {
        let form = key.rsplit_once('.').filter(|(_, form)| ["one", "two", "other"].contains(form));
        // "One hour" and its like have no number in some languages.
        let names = placeholders(message).into_iter().filter(|name| form.is_none() || *name != "n");
        (form.map_or(key, |(key, _)| key), names.collect())
    }

    #[test]
    fn every_language_has_every_message_with_its_placeholders() {
        let catalogue = Catalogue::embedded().expect("the messages are well formed");
        let shapes = |language: Language| -> BTreeMap<&str, BTreeSet<&str>> {
            catalogue.languages[&language].iter().map(|(key, message)| shape(key, message)).collect()
        };
        let english = shapes(Language::English);
        for language in Language::ALL {
            let tag = language.tag();
            let found = shapes(language);
            for key in english.keys() {
                assert!(found.contains_key(key), "locales/{tag}.toml lacks `{key}`");
            }
            for (key, names) in &found {
                let expected = english.get(key);
                assert!(expected.is_some(), "locales/{tag}.toml has `{key}`, which en.toml has not");
                assert_eq!(Some(names), expected, "the placeholders of `{key}` in locales/{tag}.toml");
            }
            for (key, message) in &catalogue.languages[&language] {
                assert!(!message.is_empty() && message.trim() == message, "`{key}` in locales/{tag}.toml");
                assert!(!message.contains('!'), "`{key}` in locales/{tag}.toml shouts");
            }
            // Each form that a number asks for is there.
            for (n, unit) in (0..=3).flat_map(|n| ["minutes", "hours", "days"].map(|unit| (n, unit))) {
                assert!(catalogue.find(language, &format!("span.{unit}"), Some(n)).is_some(), "{tag}: {n} {unit}");
            }
        }
    }

    #[test]
    fn an_operators_messages_are_checked_and_take_the_place_of_ours() {
        let texts = |text: &str| -> Texts { toml::from_str(text).expect("the test's texts are well formed") };
        let mut catalogue = Catalogue::embedded().expect("the messages are well formed");
        let check = |text: &str, expected: &[(&str, &str)]| {
            let found = catalogue.problems(&texts(text));
            let found: Vec<_> = found.iter().map(|(key, error)| (key.as_str(), error.to_string())).collect();
            let expected: Vec<_> =
                expected.iter().map(|(key, error)| (*key, format!("use this text: {error}"))).collect();
            assert_eq!(found, expected);
        };
        check("[de.sign_in]\nhint = \"Wir schreiben Ihnen.\"", &[]);
        check(
            "[he.span.days]\ntwo = \"{n} days\"",
            &[("texts.he.span.days.two", "it has no value {n}; the values of this message are: none")],
        );
        check(
            "[de.sign_in]\ntitel = \"x\"\ntitle = \"{name}\"\nhint = \"\"\nsubmit = 1\n[fr]\nnothing = \"x\"",
            &[
                ("texts.de.sign_in.hint", "expected some words on one line"),
                ("texts.de.sign_in.submit", "expected a text in quotes"),
                ("texts.de.sign_in.titel", "there is no message `sign_in.titel`; did you mean `sign_in.title`?"),
                ("texts.de.sign_in.title", "it has no value {name}; the values of this message are: {app}"),
                ("texts.fr.nothing", "there is no message `nothing`"),
            ],
        );
        catalogue.replace(&texts("[de.sign_in]\nhint = \"Wir schreiben Ihnen.\"\ntitle = \"{name}\""));
        assert_eq!(catalogue.message(Language::German, "sign_in.hint", None), "Wir schreiben Ihnen.");
        assert_eq!(catalogue.message(Language::German, "sign_in.title", None), "Bei {app} anmelden");
        assert_eq!(catalogue.message(Language::French, "sign_in.hint", None).split(' ').next(), Some("Nous"));
    }

    #[test]
    fn broken_messages_are_refused() {
        assert!(matches!(Catalogue::read(&[(Language::English, "a = ")]), Err(Error::Messages { language: "en", .. })));
    }
}
