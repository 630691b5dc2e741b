//! The languages that pages and mails are in, and which of them somebody wants.

use serde::{Deserialize, Serialize};

/// A language that every message is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Language {
    /// English, which the others fall back to.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Hebrew, written from right to left.
    Hebrew,
    /// English with long words in accented letters, to find what no translation would reach.
    #[cfg(test)]
    Stretched,
    /// The same from right to left.
    #[cfg(test)]
    Mirrored,
}

/// Ranges of an `Accept-Language` field that are looked at; browsers send a handful.
const MOST_RANGES: usize = 32;

impl Language {
    /// Those that visitors can choose from, in the order of their own names.
    pub const ALL: [Self; 5] = [Self::German, Self::English, Self::Spanish, Self::French, Self::Hebrew];

    /// The tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Hebrew => "he",
            #[cfg(test)]
            Self::Stretched => "en-XA",
            #[cfg(test)]
            Self::Mirrored => "ar-XB",
        }
    }

    /// What those who speak it call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::French => "Français",
            Self::Spanish => "Español",
            Self::Hebrew => "עברית",
            #[cfg(test)]
            Self::Stretched | Self::Mirrored => "Ƥşḗŭḓǿ",
        }
    }

    /// The value of `dir`.
    pub const fn direction(self) -> &'static str {
        match self {
            Self::Hebrew => "rtl",
            #[cfg(test)]
            Self::Mirrored => "rtl",
            _ => "ltr",
        }
    }

    /// Which of a message's forms goes with `n` (CLDR, plural rules for whole numbers).
    pub(super) const fn form(self, n: i64) -> &'static str {
        match (self, n) {
            (_, 1) | (Self::French, 0) => "one",
            (Self::Hebrew, 2) => "two",
            _ => "other",
        }
    }

    /// The language whose tag a page has.
    pub(super) fn of_page(tag: &str) -> Self {
        #[cfg(test)]
        if let Some(pseudo) = [Self::Stretched, Self::Mirrored].into_iter().find(|language| language.tag() == tag) {
            return pseudo;
        }
        Self::find(tag).unwrap_or_default()
    }

    /// The language of a tag, by its first part: `de-AT` is German.
    pub fn find(tag: &str) -> Option<Self> {
        let first = tag.split('-').next().unwrap_or_default();
        // The tag that Hebrew had until 1989, and that some programs still send.
        let first = if first.eq_ignore_ascii_case("iw") { "he" } else { first };
        Self::ALL.into_iter().find(|language| first.eq_ignore_ascii_case(language.tag()))
    }

    /// The language that fits `Accept-Language` best (RFC 9110 section 12.5.4, RFC 4647 section 3.4): of the highest
    /// quality, and of those the first. None where none of ours is wanted, or any will do.
    pub fn accepted<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut best = (0, None);
        for range in fields.flat_map(|field| field.split(',')).take(MOST_RANGES) {
            let (tag, quality) = range.split_once(';').unwrap_or((range, "q=1"));
            let (tag, Some(quality)) = (tag.trim(), thousandths(quality)) else { continue };
            let language = Self::find(tag);
            if quality > best.0 && (language.is_some() || tag == "*") {
                best = (quality, language);
            }
        }
        best.1
    }
}

/// The weight in `q=0.8` (RFC 9110 section 12.4.2); none where it is no weight.
fn thousandths(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.trim();
    if !name.trim().eq_ignore_ascii_case("q") || value.len() > 5 {
        return None;
    }
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || !are_digits(part) {
        return None;
    }
    let weight = format!("{whole}{part:0<3}").parse().ok()?;
    (weight <= 1000).then_some(weight)
}

impl TryFrom<String> for Language {
    type Error = UnknownLanguage;

    fn try_from(tag: String) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|language| language.tag() == tag).ok_or(UnknownLanguage)
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.tag().to_owned()
    }
}

/// Not the tag of a language that the messages are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"de\", \"en\", \"es\", \"fr\" or \"he\"")]
pub struct UnknownLanguage;

/// Who reads a page: in which language, and where they find it again in another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// The language.
    pub language: Language,
    /// Path and query of the page, where it can be opened once more; the choice of another language leads back there.
    pub here: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_language_that_is_wanted_most_is_taken() {
        let check = |fields: &[&str], expected: Option<&str>| {
            let found = Language::accepted(fields.iter().copied());
            assert_eq!(found.map(Language::tag), expected, "{fields:?}");
        };
        check(&["de"], Some("de"));
        check(&["de-AT"], Some("de"));
        check(&["DE-at-1996;q=0.5"], Some("de"));
        check(&["en;q=0.8, fr"], Some("fr"));
        check(&["en;q=0.8", "fr;q=0.9"], Some("fr"));
        check(&["nl, de;q=0.7, en;q=0.3"], Some("de"));
        check(&["es , de"], Some("es"));
        check(&["iw"], Some("he"));
        check(&["de;q=0, en;q=0.1"], Some("en"));
        check(&["de;q=0.123,en;q=0.124"], Some("en"));
        check(&["en ; Q = 1.000"], Some("en"));
        check(&["*"], None);
        check(&["*, de;q=0.5"], None);
        check(&["nl"], None);
        check(&["de;q=0"], None);
        check(&[], None);
    }

    #[test]
    fn what_is_malformed_counts_for_nothing() {
        for wrong in [
            "",
            ",",
            ";",
            "q=1",
            "de;",
            "de;q",
            "de;q=",
            "de;q=2",
            "de;q=1.001",
            "de;q=0.1234",
            "de;q=-1",
            "de;q=1e0",
            "de;level=1",
            "d",
            "deu",
            "de_AT",
            "dé",
            "\u{0}",
        ] {
            assert_eq!(Language::accepted([wrong].into_iter()), None, "{wrong:?}");
            assert_eq!(Language::accepted([wrong, "fr;q=0.1"].into_iter()), Some(Language::French), "{wrong:?}");
        }
        let long = format!("{}de", "nl,".repeat(MOST_RANGES));
        assert_eq!(Language::accepted([long.as_str()].into_iter()), None);
    }

    #[test]
    fn forms_are_those_of_the_languages() {
        let check = |language: Language, expected: [&str; 4]| {
            assert_eq!([0, 1, 2, 3].map(|n| language.form(n)), expected, "{language:?}");
        };
        check(Language::English, ["other", "one", "other", "other"]);
        check(Language::German, ["other", "one", "other", "other"]);
        check(Language::Spanish, ["other", "one", "other", "other"]);
        check(Language::French, ["one", "one", "other", "other"]);
        check(Language::Hebrew, ["other", "one", "two", "other"]);
    }

    #[test]
    fn a_setting_names_a_language_by_its_tag() {
        for language in Language::ALL {
            assert_eq!(Language::try_from(language.tag().to_owned()), Ok(language));
        }
        for wrong in ["", "DE", "de-AT", "nl", "en-XA"] {
            assert_eq!(Language::try_from(wrong.to_owned()), Err(UnknownLanguage), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_field_does_any_harm(field in "\\PC{0,60}|[de,;q=01. *-]{0,40}") {
            let _ = Language::accepted([field.as_str()].into_iter());
        }
    }
}
