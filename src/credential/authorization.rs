//! What a program shows of itself in `Authorization` (RFC 9110 section 11.6.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};

use crate::secret::Secret;

/// A token is no longer than this.
const MOST_BYTES: usize = 16 * 1024;

/// What a request shows, where that could be a token of ours.
pub enum Authorization<'a> {
    /// `Bearer` (RFC 6750 section 2.1).
    Bearer(&'a str),
    /// The password of `Basic` (RFC 7617), whatever the user's name.
    Basic(Secret<String>),
    /// One of the two that cannot be read, or several fields.
    Malformed,
}

impl<'a> Authorization<'a> {
    /// Reads the field. `None` where there is none, or one of another scheme, which is the application's.
    pub fn read(headers: &'a HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let field = fields.next()?;
        if fields.next().is_some() {
            return Some(Self::Malformed);
        }
        let (scheme, value) = split(field)?;
        let value = value.filter(|value| value.len() <= MOST_BYTES);
        let read = match scheme {
            Scheme::Bearer => value.filter(|token| is_token(token)).map(Self::Bearer),
            Scheme::Basic => value.and_then(password).map(Self::Basic),
        };
        Some(read.unwrap_or(Self::Malformed))
    }
}

/// Whether a request shows something that is for the gateway where tokens are taken: no upstream may have it.
pub fn is_shown(headers: &HeaderMap) -> bool {
    Authorization::read(headers).is_some()
}

enum Scheme {
    Bearer,
    Basic,
}

/// Scheme and value; no value where it is no text.
fn split(field: &HeaderValue) -> Option<(Scheme, Option<&str>)> {
    let bytes = field.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
    let (scheme, value) = bytes.split_at(end);
    let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        Scheme::Basic
    } else {
        return None;
    };
    Some((scheme, std::str::from_utf8(value).ok().map(|value| value.trim_matches(' '))))
}

/// `b64token` of RFC 6750.
fn is_token(text: &str) -> bool {
    let is_mark = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    !text.is_empty() && text.as_bytes().iter().all(is_mark)
}

fn password(encoded: &str) -> Option<Secret<String>> {
    let decoded = Secret::new(STANDARD.decode(encoded).ok()?);
    let text = std::str::from_utf8(decoded.expose()).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(Secret::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fields: &[&'static [u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field).unwrap());
        }
        Authorization::read(&headers).map(|authorization| match authorization {
            Authorization::Bearer(token) => format!("bearer {token}"),
            Authorization::Basic(password) => format!("basic {}", password.expose()),
            Authorization::Malformed => "malformed".to_owned(),
        })
    }

    #[test]
    fn tokens_are_read_in_both_schemes() {
        let check = |field: &'static [u8], expected: Option<&str>| {
            assert_eq!(shown(&[field]).as_deref(), expected, "{}", String::from_utf8_lossy(field));
        };
        check(b"Bearer abc.d-e_f", Some("bearer abc.d-e_f"));
        check(b"bEARER  abc", Some("bearer abc"));
        check(b"Basic YWRhOnNlY3JldA==", Some("basic secret"));
        check(b"basic OnNlOmNyZXQ=", Some("basic se:cret"));
        check(b"Bearer", Some("malformed"));
        check(b"Bearer a b", Some("malformed"));
        check(b"Bearer a,b", Some("malformed"));
        check(b"Bearer \xff", Some("malformed"));
        check(b"Basic YWRh", Some("malformed"));
        check(b"Basic !", Some("malformed"));
        check(b"Basic YTr/", Some("malformed"));
        check(b"Digest abc", None);
        check(b"Bearerabc", None);
        check(b"", None);
        assert_eq!(shown(&[]), None);
    }

    #[test]
    fn two_fields_have_two_readings() {
        assert_eq!(shown(&[b"Bearer a", b"Bearer a"]).as_deref(), Some("malformed"));
        assert_eq!(shown(&[b"Digest a", b"Bearer a"]).as_deref(), Some("malformed"));
    }

    #[test]
    fn what_is_too_long_is_not_looked_at() {
        let long: &'static str = Box::leak(format!("Bearer {}", "a".repeat(MOST_BYTES + 1)).into_boxed_str());
        assert_eq!(shown(&[long.as_bytes()]).as_deref(), Some("malformed"));
    }
}
