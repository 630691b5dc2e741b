//! The operator's theme: name, logo, accent and contact.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
}

/// A colour as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Color {
    /// Red, green and blue.
    pub rgb: [u8; 3],
}

impl TryFrom<String> for Color {
    type Error = BadColor;

    fn try_from(text: String) -> Result<Self, BadColor> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii()).ok_or(BadColor)?;
        let channel = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| BadColor);
        Ok(Self { rgb: [channel(0)?, channel(2)?, channel(4)?] })
    }
}

impl From<Color> for String {
    fn from(Color { rgb: [red, green, blue] }: Color) -> Self {
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Not a colour as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a colour like \"#2f6f4f\"")]
pub struct BadColor;
