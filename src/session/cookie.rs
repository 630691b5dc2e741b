//! The gateway's own cookies: how they are named, found, set, cleared, and kept from the upstream.
//!
//! One simple grammar, byte-exact names, nothing legacy (RFC 6265 section 4.2.1).

use std::time::Duration;

use bytes::Bytes;
use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memmem;

/// More values than this under one name are noise: none is looked at.
const MOST_VALUES: usize = 4;

/// What a cookie of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names the session.
    Session,
    /// Ties sign-in attempts to the browser that began them.
    Browser,
    /// Names the device to Mosaic, where the operator wants that.
    Device,
    /// Counts sign-ins within a minute, to see one that leads nowhere.
    Rounds,
    /// Keeps the language that pages are wanted in.
    Language,
}

/// Names cookies for one public origin: with the `__Host-` prefix and `Secure` wherever it is HTTPS.
#[derive(Clone, Copy, Debug)]
pub struct Jar {
    secure: bool,
}

/// Every name that is or was ours, in either mode: none of them passes in either direction.
const OWN: [&str; 10] = [
    "__Host-linkgate",
    "__Host-linkgate-browser",
    "__Host-linkgate-device",
    "__Host-linkgate-rounds",
    "__Host-linkgate-language",
    "linkgate",
    "linkgate-browser",
    "linkgate-device",
    "linkgate-rounds",
    "linkgate-language",
];

impl Jar {
    /// The jar of an origin that is reached over HTTPS, or not.
    pub const fn new(secure: bool) -> Self {
        Self { secure }
    }

    const fn name(self, kind: Kind) -> &'static str {
        match (self.secure, kind) {
            (true, Kind::Session) => "__Host-linkgate",
            (true, Kind::Browser) => "__Host-linkgate-browser",
            (true, Kind::Device) => "__Host-linkgate-device",
            (true, Kind::Rounds) => "__Host-linkgate-rounds",
            (true, Kind::Language) => "__Host-linkgate-language",
            (false, Kind::Session) => "linkgate",
            (false, Kind::Browser) => "linkgate-browser",
            (false, Kind::Device) => "linkgate-device",
            (false, Kind::Rounds) => "linkgate-rounds",
            (false, Kind::Language) => "linkgate-language",
        }
    }

    /// The values under the name of `kind`, over all `Cookie` fields; none where there are suspiciously many.
    pub fn values(self, kind: Kind, headers: &HeaderMap) -> Vec<&str> {
        let mut values = named(headers, self.name(kind).as_bytes(), MOST_VALUES + 1);
        if values.len() > MOST_VALUES {
            values.clear();
        }
        values
    }

    /// `Set-Cookie` that keeps `value` for `lifetime`.
    pub fn set(self, kind: Kind, value: &str, lifetime: Duration) -> HeaderValue {
        self.header(kind, value, lifetime)
    }

    /// `Set-Cookie` that empties the browser's jar: the same attributes, no life left.
    pub fn clear(self, kind: Kind) -> HeaderValue {
        self.header(kind, "", Duration::ZERO)
    }

    fn header(self, kind: Kind, value: &str, lifetime: Duration) -> HeaderValue {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let cookie = Cookie::build((self.name(kind), value))
            .path("/")
            .secure(self.secure)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(seconds));
        HeaderValue::from_str(&cookie.to_string()).expect("our names and base64url values are ASCII")
    }
}

/// The values under the name of another program's cookie.
pub fn foreign_values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    named(headers, name.as_bytes(), MOST_VALUES)
}

/// At most `most` values under a name, byte for byte.
fn named<'a>(headers: &'a HeaderMap, name: &[u8], most: usize) -> Vec<&'a str> {
    let mut values = Vec::new();
    let name = memmem::Finder::new(name);
    for field in headers.get_all(COOKIE) {
        let field = field.as_bytes();
        // Among many cookies the name is found sooner than they are told apart.
        for start in name.find_iter(field) {
            let (before, rest) = (&field[..start], &field[start + name.needle().len()..]);
            let begins = matches!(before.trim_ascii_end().last(), None | Some(b';'));
            let Some(value) = rest.strip_prefix(b"=").filter(|_| begins) else { continue };
            let value = &value[..memchr::memchr(b';', value).unwrap_or(value.len())];
            if let Ok(value) = std::str::from_utf8(value.trim_ascii_end()) {
                values.push(value);
                if values.len() == most {
                    return values;
                }
            }
        }
    }
    values
}

/// One `name=value` of a field, without the blanks around it.
struct Pair<'a> {
    text: &'a [u8],
    /// Where it begins in the field.
    start: usize,
}

/// What is between the semicolons of a field.
fn pairs(field: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    let mut next = 0;
    let ends = memchr::memchr_iter(b';', field).chain([field.len()]);
    ends.map(move |end| {
        let raw = &field[next..end];
        let text = raw.trim_ascii_start();
        let start = next + raw.len() - text.len();
        next = end + 1;
        Pair { text: text.trim_ascii_end(), start }
    })
}

/// What the upstream gets to see: one `Cookie` field without our own, or none.
pub fn without_own(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut kept = Vec::new();
    let mut fields = headers.get_all(COOKIE).iter().peekable();
    while let Some(field) = fields.next() {
        let bytes = field.as_bytes();
        // Neighbours that stay are copied as one.
        let mut run = 0..0;
        for Pair { text, start } in pairs(bytes) {
            if text.is_empty() || is_own(text) {
                continue;
            }
            let end = start + text.len();
            if !run.is_empty() && bytes.get(run.end..start) == Some(&BETWEEN[..]) {
                run.end = end;
            } else {
                append(&mut kept, &bytes[run], bytes.len());
                run = start..end;
            }
        }
        if kept.is_empty() && fields.peek().is_none() && !run.is_empty() && run.len() == bytes.len() {
            return Some(field.clone());
        }
        append(&mut kept, &bytes[run], bytes.len());
    }
    if kept.is_empty() { None } else { HeaderValue::from_maybe_shared(Bytes::from(kept)).ok() }
}

/// What stands between two cookies (RFC 6265 section 4.2.1).
const BETWEEN: &[u8; 2] = b"; ";

fn append(kept: &mut Vec<u8>, run: &[u8], most: usize) {
    if run.is_empty() {
        return;
    }
    if kept.is_empty() {
        kept.reserve_exact(most);
    } else {
        kept.extend_from_slice(BETWEEN);
    }
    kept.extend_from_slice(run);
}

/// Whether a `name=value` pair, or the beginning of a `Set-Cookie`, bears one of our names.
pub fn is_own(pair: &[u8]) -> bool {
    let pair = pair.trim_ascii_start();
    // Most are not, and show it by their first letter.
    if !matches!(pair.first(), Some(b'_' | b'l' | b'L')) {
        return false;
    }
    let name = pair.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
    // Browsers match the prefix in any case (RFC 6265bis section 4.1.3), so names are ours in any case.
    OWN.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cookies(fields: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_static(field));
        }
        headers
    }

    #[test]
    fn values_are_found_over_all_fields_by_exact_name() {
        let check = |fields: &[&'static str], expected: &[&str]| {
            assert_eq!(Jar::new(true).values(Kind::Session, &cookies(fields)), expected, "{fields:?}");
        };
        check(&["__Host-linkgate=a"], &["a"]);
        check(&["x=1; __Host-linkgate=a", "__Host-linkgate=b"], &["a", "b"]);
        check(&["__host-linkgate=a; linkgate=b; x__Host-linkgate=c; __Host-linkgatex=d"], &[]);
        check(&["__Host-linkgate = a"], &[]);
        check(&["__Host-linkgate=a;__Host-linkgate=b;__Host-linkgate=c;__Host-linkgate=d;__Host-linkgate=e"], &[]);
        check(&["__Host-linkgate=\"a\""], &["\"a\""]);
        check(&["a=__Host-linkgate=b; c __Host-linkgate=d; ;\t__Host-linkgate=e=; \t__Host-linkgate="], &["e=", ""]);
    }

    #[test]
    fn the_upstream_sees_one_field_without_ours() {
        let check = |fields: &[&'static str], expected: Option<&str>| {
            let found = without_own(&cookies(fields));
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), expected, "{fields:?}");
        };
        check(&["__Host-linkgate=a; b=1", "c=2;__Host-linkgate-browser=x; linkgate=y"], Some("b=1; c=2"));
        check(&["__HOST-linkgate=a"], None);
        check(&["a=1;; b"], Some("a=1; b"));
        check(&[], None);
    }

    #[test]
    fn cookies_carry_every_attribute() {
        let secure = Jar::new(true).set(Kind::Session, "v", Duration::from_secs(60));
        assert_eq!(secure, "__Host-linkgate=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60");
        let cleared = Jar::new(true).clear(Kind::Browser);
        assert_eq!(cleared, "__Host-linkgate-browser=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
        let plain = Jar::new(false).set(Kind::Session, "v", Duration::from_secs(60));
        assert_eq!(plain, "linkgate=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=60");
    }

    #[test]
    fn an_upstream_cannot_set_our_names() {
        for own in ["linkgate=x; Path=/", "__Host-LINKGATE=x", " linkgate-browser =", "linkgate", "linkgate; Path=/"] {
            assert!(is_own(own.as_bytes()), "{own:?}");
        }
        assert!(!is_own(b"linkgate2=x"));
        assert!(!is_own(b"session=linkgate"));
    }

    proptest! {
        #[test]
        fn a_value_is_what_follows_the_whole_name(field in "((ab|a|b| |\t|=|;|; |1){0,12})") {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_str(&field).unwrap());
            let pairs = field.split(';').map(str::trim_ascii);
            let values: Vec<&str> = pairs.filter_map(|pair| pair.strip_prefix("ab=")).collect();
            prop_assert_eq!(named(&headers, b"ab", usize::MAX), values);
        }

        #[test]
        fn what_is_others_stays_in_its_order(
            fields in proptest::collection::vec("((a=1|b=\"2 3\"|c| |linkgate=x|LINKGATE|lead=1|;|; |;;){0,8})", 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for field in &fields {
                headers.append(COOKIE, HeaderValue::from_str(field).unwrap());
            }
            let pairs = fields.iter().flat_map(|field| field.split(';')).map(str::trim_ascii);
            let others: Vec<&str> = pairs.filter(|pair| !pair.is_empty() && !is_own(pair.as_bytes())).collect();
            let left = without_own(&headers);
            let left = left.as_ref().map_or("", |left| left.to_str().unwrap());
            prop_assert_eq!(left, others.join("; "));
        }

        #[test]
        fn nothing_of_ours_is_ever_left(field in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_str(&field).unwrap());
            headers.append(COOKIE, HeaderValue::from_static("linkgate=secret"));
            if let Some(left) = without_own(&headers) {
                prop_assert!(left.as_bytes().split(|byte| *byte == b';').all(|pair| !is_own(pair)));
            }
        }
    }
}
