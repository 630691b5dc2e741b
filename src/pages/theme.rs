//! The operator's theme: name, logo, accent and contact, and which colours pages can be read in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Language};
use crate::identity::EmailAddress;

/// `[theme]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Theme {
    /// The application's name on pages and in mail; the public host where there is none.
    pub name: Option<String>,
    /// An SVG, PNG or WebP file shown above every page.
    pub logo: Option<PathBuf>,
    /// The colour of buttons and links.
    pub accent: Option<Color>,
    /// Whom visitors may ask: an address or a URL.
    pub contact: Option<String>,
    /// The language of those who choose none and whose browser asks for none of ours.
    pub language: Language,
    /// Messages in place of the catalogue's: a table for each language, with the tables of `locales/` in it.
    pub texts: BTreeMap<Language, toml::Table>,
    /// A folder whose templates replace those of pages by their names.
    pub templates: Option<PathBuf>,
}

/// A colour as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Color {
    /// Red, green and blue.
    pub rgb: [u8; 3],
}

const WHITE: Color = Color { rgb: [0xff; 3] };
const BLACK: Color = Color { rgb: [0; 3] };
/// The darker of the two surfaces of light pages (`--page` of style.css).
const LIGHT_SURFACE: Color = Color { rgb: [0xf4, 0xf5, 0xf2] };
/// The lighter of the two surfaces of dark pages (`--card` of style.css).
const DARK_SURFACE: Color = Color { rgb: [0x1c, 0x20, 0x1e] };
const DEFAULT_ACCENT: Color = Color { rgb: [0x2f, 0x6f, 0x4f] };

/// WCAG 2.2, 1.4.3: text of ordinary size.
const READABLE: f64 = 4.5;
/// Below this a readable shade would no longer be taken for the operator's colour.
const CORRECTABLE: f64 = 3.0;

impl Color {
    /// The contrast with `other`, from 1 to 21 (WCAG 2.2, "contrast ratio").
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.rgb.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// The nearest shade that can be read on `surface`, mixed towards black or white, whichever is further from it.
    fn readable_on(self, surface: Self) -> Self {
        let end = if surface.contrast(WHITE) > surface.contrast(BLACK) { WHITE } else { BLACK };
        let shades = (0..=100).map(|percent| self.mixed(end, percent));
        shades.into_iter().find(|shade| shade.contrast(surface) >= READABLE).unwrap_or(end)
    }

    fn mixed(self, other: Self, percent: u16) -> Self {
        let mix = |at: usize| {
            let sum = u16::from(self.rgb[at]) * (100 - percent) + u16::from(other.rgb[at]) * percent;
            u8::try_from(sum / 100).unwrap_or(u8::MAX)
        };
        Self { rgb: [mix(0), mix(1), mix(2)] }
    }

    /// Black or white: one of them always has a contrast of 4.58 or more.
    fn text_on(self) -> Self {
        if self.contrast(WHITE) >= READABLE { WHITE } else { BLACK }
    }
}

impl TryFrom<String> for Color {
    type Error = BadColor;

    fn try_from(text: String) -> Result<Self, BadColor> {
        let digits = text.strip_prefix('#').ok_or(BadColor)?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadColor);
        }
        let channel = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| BadColor);
        Ok(Self { rgb: [channel(0)?, channel(2)?, channel(4)?] })
    }
}

impl From<Color> for String {
    fn from(color: Color) -> Self {
        color.to_string()
    }
}

impl std::fmt::Display for Color {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [red, green, blue] = self.rgb;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Not a colour as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a colour like \"#2f6f4f\"")]
pub struct BadColor;

/// The accent as it is used: a shade for light pages and one for dark pages, each readable on both of their surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Palette {
    light: Color,
    dark: Color,
}

impl Palette {
    /// A colour that only just misses is corrected; one that is far off is refused, with a shade that passes.
    pub(super) fn of(accent: Option<Color>) -> Result<Self, Error> {
        let accent = accent.unwrap_or(DEFAULT_ACCENT);
        let (contrast, light) = (accent.contrast(LIGHT_SURFACE), accent.readable_on(LIGHT_SURFACE));
        if contrast < CORRECTABLE {
            return Err(Error::Accent { accent, contrast, passing: light });
        }
        if light != accent {
            tracing::info!(configured = %accent, used = %light, "darkened the accent so that it can be read on light pages");
        }
        Ok(Self { light, dark: accent.readable_on(DARK_SURFACE) })
    }

    /// The custom properties that style.css builds on.
    pub(super) fn css(self) -> String {
        let Self { light, dark } = self;
        let properties = |shade: Color| format!(":root{{--accent:{shade};--on-accent:{}}}", shade.text_on());
        format!("{}\n@media (prefers-color-scheme:dark){{{}}}\n", properties(light), properties(dark))
    }

    /// What stands in a tab: a keyhole, which says nothing about whose page it is.
    pub(super) fn icon(self) -> String {
        let Self { light, .. } = self;
        let on = light.text_on();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\">\
             <rect width=\"32\" height=\"32\" rx=\"9\" fill=\"{light}\"/>\
             <path fill=\"{on}\" d=\"M16 7a5 5 0 0 1 2.6 9.3L20 25h-8l1.4-8.7A5 5 0 0 1 16 7z\"/></svg>\n"
        )
    }

    /// The shade for light surfaces, for mail.
    pub(super) fn light(self) -> Color {
        self.light
    }

    /// Black or white, to write on [`Self::light`].
    pub(super) fn on_light(self) -> Color {
        self.light.text_on()
    }
}

/// Whom to ask, as a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Contact {
    text: String,
    href: String,
}

impl Contact {
    /// What people read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// An address, or a URL with `https:` or `http:`; nothing else becomes a link.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if let Ok(address) = EmailAddress::parse(text) {
            return Ok(Self { text: address.to_string(), href: format!("mailto:{address}") });
        }
        let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Error::Contact { contact: text.to_owned() })?;
        let shown = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
        Ok(Self { text: shown.to_owned(), href: url.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Color {
        Color::try_from(text.to_owned()).expect("the colour is well formed")
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let check = |one: &str, two: &str, expected: f64| {
            let found = color(one).contrast(color(two));
            assert!((found - expected).abs() < 0.01, "{one} {two}: {found}");
        };
        check("#000000", "#ffffff", 21.0);
        check("#ffffff", "#000000", 21.0);
        check("#2f6f4f", "#2f6f4f", 1.0);
        check("#777777", "#ffffff", 4.48);
        check("#767676", "#ffffff", 4.54);
        check("#ff0000", "#ffffff", 4.0);
        check("#0000ff", "#ffffff", 8.59);
    }

    #[test]
    fn colours_are_six_digits() {
        for wrong in ["", "2f6f4f", "#2f6f4", "#2f6f4f0", "#+f6f4f", "#ggffff", "red", "#é6f4f", "#fff;}x"] {
            assert_eq!(Color::try_from(wrong.to_owned()), Err(BadColor), "{wrong}");
        }
        assert_eq!(color("#2F6f4f").to_string(), "#2f6f4f");
    }

    #[test]
    fn an_accent_is_kept_corrected_or_refused() {
        let check = |accent: &str, expected: Result<&str, &str>| {
            let found = Palette::of(Some(color(accent)));
            let found = found.map(|palette| palette.light.to_string()).map_err(|error| error.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        };
        check("#2f6f4f", Ok("#2f6f4f"));
        check("#000000", Ok("#000000"));
        check("#e0452f", Ok("#cb3e2a"));
        check(
            "#ffcc00",
            Err("use the accent #ffcc00: text needs a contrast of 4.5 on a light page and this has 1.4; \
                 #876c00 would pass"),
        );
    }

    #[test]
    fn every_accent_that_is_accepted_can_be_read() {
        let steps = [0_u8, 0x33, 0x66, 0x99, 0xcc, 0xff];
        let all = steps.iter().flat_map(|red| steps.iter().map(move |green| (*red, *green)));
        for (red, green) in all {
            for blue in steps {
                let accent = Color { rgb: [red, green, blue] };
                match Palette::of(Some(accent)) {
                    Ok(Palette { light, dark }) => {
                        assert!(light.contrast(LIGHT_SURFACE) >= READABLE, "{accent}");
                        assert!(light.contrast(WHITE) >= READABLE, "{accent}");
                        assert!(dark.contrast(DARK_SURFACE) >= READABLE, "{accent}");
                        assert!(light.contrast(light.text_on()) >= READABLE, "{accent}");
                        assert!(dark.contrast(dark.text_on()) >= READABLE, "{accent}");
                    }
                    Err(Error::Accent { passing, .. }) => {
                        assert_eq!(Palette::of(Some(passing)).map(|palette| palette.light).ok(), Some(passing));
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn the_surfaces_are_those_of_the_style_sheet() {
        let style = include_str!("../../assets/style.css");
        assert!(style.contains(&format!("--page: {LIGHT_SURFACE};")));
        assert!(style.contains(&format!("--card: {DARK_SURFACE};")));
    }

    #[test]
    fn a_contact_is_an_address_or_a_web_page() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = Contact::parse(text).ok().map(|contact| (contact.text, contact.href));
            assert_eq!(found, expected.map(|(text, href)| (text.to_owned(), href.to_owned())), "{text}");
        };
        check("help@example.com", Some(("help@example.com", "mailto:help@example.com")));
        check("https://example.com/help/", Some(("example.com/help", "https://example.com/help/")));
        check("javascript:alert(1)", None);
        check("data:text/html,x", None);
        check("ask Bob", None);
    }
}
