//! The request of `linkgate explain`, as it was typed. Nothing is repaired: the gateway must see what would be sent.

use http::{HeaderName, HeaderValue};

/// The authority, and path and query, of an address. What a browser keeps to itself, from `#` on, is left out.
pub(super) fn split(url: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{url}` is no address like https://app.example.com/reports");
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let sent = rest.split('#').next().unwrap_or_default();
    let end = sent.find(['/', '?', '\\']).unwrap_or(sent.len());
    let (authority, target) = sent.split_at(end);
    if !is_web || authority.is_empty() {
        return Err(wrong());
    }
    let slash = if target.starts_with(['/', '\\']) { "" } else { "/" };
    Ok((authority.to_owned(), format!("{slash}{target}")))
}

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
    fn an_address_is_split_and_left_as_it_is() {
        let check = |url: &str, authority: &str, target: &str| {
            assert_eq!(split(url), Ok((authority.to_owned(), target.to_owned())), "{url}");
        };
        check("http://localhost:8080", "localhost:8080", "/");
        check("HTTPS://a.example?x", "a.example", "/?x");
        check("https://a.example/a/../b//%2e%2E/c\\d?x=/..", "a.example", "/a/../b//%2e%2E/c\\d?x=/..");
        check("https://a.example/a#b?c", "a.example", "/a");
        check("https://a.example\\b", "a.example", "\\b");
        check("https://[::1]:8443/é", "[::1]:8443", "/é");
        for wrong in ["", "/reports", "localhost:8080/x", "ftp://a.example/", "http:///x", "https://#x"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_field_has_a_name_and_a_value() {
        let (name, value) = field("X-Forwarded-For:  192.0.2.7 ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-forwarded-for", &b"192.0.2.7"[..]));
        for wrong in ["", "accept", "a b: c", "a: b\nc: d"] {
            assert!(field(wrong).is_err(), "{wrong}");
        }
    }
}
