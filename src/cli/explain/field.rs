//! Header fields of `linkgate explain`, as they were typed.

use http::{HeaderName, HeaderValue};

/// A header field.
pub(super) fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
    });
    parsed.ok_or_else(|| format!("`{text}` is no header field like `Accept: text/html`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_name_and_a_value() {
        let (name, value) = field("X-Forwarded-For:  192.0.2.7 ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-forwarded-for", &b"192.0.2.7"[..]));
        for wrong in ["", "accept", "a b: c", "a: b\nc: d"] {
            assert!(field(wrong).is_err(), "{wrong}");
        }
    }
}
