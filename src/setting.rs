//! Types that several sections of gateway.toml parse their values into.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// A length of time with its unit: `"90s"`, `"15m"`, `"12h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    /// `seconds` long.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// `minutes` long.
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// `hours` long.
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }

    /// `days` long.
    pub const fn days(days: u64) -> Self {
        Self::hours(days * 24)
    }
}

impl TryFrom<String> for Span {
    type Error = BadSpan;

    fn try_from(text: String) -> Result<Self, BadSpan> {
        let digits = text.find(|character: char| !character.is_ascii_digit()).ok_or(BadSpan)?;
        let (number, unit) = text.split_at(digits);
        let unit_millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(BadSpan),
        };
        let number: u64 = number.parse().map_err(|_| BadSpan)?;
        let millis = number.checked_mul(unit_millis).ok_or(BadSpan)?;
        if millis == 0 || millis > 10 * 365 * 86_400_000 {
            return Err(BadSpan);
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// In the largest unit that divides it.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let (size, unit) = units.into_iter().find(|(size, _)| millis.is_multiple_of(*size)).unwrap_or((1, "ms"));
        write!(f, "{}{unit}", millis / size)
    }
}

/// Not a number with a unit, nothing at all, or more than ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a length of time with its unit, like \"90s\", \"15m\", \"12h\" or \"7d\"")]
pub struct BadSpan;

/// A regular expression that a whole text must match.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    written: String,
    whole: Regex,
}

impl Pattern {
    /// Whether all of `text` is as the pattern has it.
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(written: String) -> Result<Self, BadPattern> {
        // By itself first: what is wrong alone may be right inside the group, like `)|(`.
        Regex::new(&written)?;
        Ok(Self { whole: Regex::new(&format!(r"\A(?:{written})\z"))?, written })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.written
    }
}

/// Not a regular expression.
#[derive(Clone, Debug, thiserror::Error)]
#[error("expected a regular expression, like \"[A-Z]{{2}}[0-9]{{6}}\"")]
pub struct BadPattern(#[from] regex::Error);

/// Where a secret is kept. gateway.toml names the place and never holds the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file whose content, without the line break at its end, is the secret.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// When the file or the variable cannot be read, or is empty.
    pub fn read(&self) -> Result<Secret<String>, BadSecret> {
        let text = match self {
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|source| BadSecret::File { path: path.clone(), source })?
            }
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| BadSecret::Environment { name: name.clone() })?
            }
        };
        let secret = Secret::new(text);
        let trimmed = secret.expose().trim_end_matches(['\r', '\n']);
        if trimmed.is_empty() {
            return Err(BadSecret::Empty);
        }
        Ok(Secret::new(trimmed.to_owned()))
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BadSecret {
    /// The file cannot be read.
    #[error("read the secret in `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The variable is not set, or not UTF-8.
    #[error("read the environment variable `{name}`")]
    Environment {
        /// The variable.
        name: String,
    },
    /// The place is there and empty.
    #[error("find a secret: the place is empty")]
    Empty,
}

/// Reads a table, and nothing but a table: a derived struct would also take a list for its fields in their order.
///
/// # Errors
/// When there is something else, or something in the table is wrong.
pub fn table<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(TableVisitor(PhantomData))
}

/// The same for a table that may be left out.
///
/// # Errors
/// As [`table`].
pub fn optional_table<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    table(deserializer).map(Some)
}

/// Reads a list of tables; a table that stands alone is a list of one.
///
/// # Errors
/// As [`table`].
pub fn tables<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(TablesVisitor(PhantomData))
}

/// The same for a list that may be left out.
///
/// # Errors
/// As [`table`].
pub fn optional_tables<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    tables(deserializer).map(Some)
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for TableVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

struct TablesVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for TablesVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table or a list of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|only| vec![only])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut tables = Vec::new();
        while let Some(next) = list.next_element_seed(TableSeed(PhantomData))? {
            tables.push(next);
        }
        Ok(tables)
    }
}

struct TableSeed<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for TableSeed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        table(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_carry_their_unit() {
        let check = |input: &str, expected: Result<u64, BadSpan>| {
            let found = Span::try_from(input.to_owned()).map(|span| span.0.as_millis());
            assert_eq!(found, expected.map(u128::from), "{input:?}");
        };
        check("250ms", Ok(250));
        check("90s", Ok(90_000));
        check("15m", Ok(900_000));
        check("12h", Ok(43_200_000));
        check("7d", Ok(604_800_000));
        for wrong in ["", "5", "m", "-5m", "5 m", "5w", "1.5h", "0s", "99999999999999999999s", "4000d"] {
            check(wrong, Err(BadSpan));
        }
    }

    #[test]
    fn a_pattern_is_for_the_whole_text() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let pattern = Pattern::try_from(pattern.to_owned()).expect("the pattern is well formed");
            assert_eq!(pattern.matches(text), expected, "{pattern:?} {text:?}");
        };
        check("[0-9]{6}", "123456", true);
        check("[0-9]{6}", "1234567", false);
        check("[0-9]{6}", "a123456", false);
        check("[0-9]{6}", "123456\n", false);
        check("a|b", "b", true);
        check("a|b", "ax", false);
        for wrong in ["[", "a)|(b", "(?=a)", "a{4294967295}"] {
            assert!(Pattern::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_shown_as_they_are_written() {
        for text in ["250ms", "90s", "15m", "12h", "7d"] {
            let span = Span::try_from(text.to_owned()).expect("the span is well formed");
            assert_eq!(span.to_string(), text);
        }
    }
}
