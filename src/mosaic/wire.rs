//! Values as Mosaic writes them in JSON, read into types that cannot be wrong.

use std::time::Duration;

use serde::de::{Deserialize as _, Deserializer, Error as _};

use crate::secret::Secret;

/// A token or session ID: 1 to 16384 printable ASCII characters without blanks, fit for a header.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    let text = Secret::new(String::deserialize(deserializer)?);
    let is_fit = (1..=16 * 1024).contains(&text.expose().len()) && text.expose().bytes().all(|b| b.is_ascii_graphic());
    if is_fit { Ok(text) } else { Err(D::Error::custom("not a token")) }
}

/// The same where it may be absent or null.
pub(super) fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Wrapped(#[serde(deserialize_with = "secret")] Secret<String>);
    Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
}

/// A length of time as a number of seconds, at most a year.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let span = Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)?;
    if span <= Duration::from_secs(366 * 86_400) { Ok(span) } else { Err(D::Error::custom("too long")) }
}
