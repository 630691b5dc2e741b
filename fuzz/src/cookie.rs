//! Cookies: none of the gateway's own reaches an upstream, none of the upstream's own is lost, and a session's name is
//! written in one way.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use linkgate::secret::{base64url, from_base64url};
use linkgate::session::cookie::{Jar, Kind, is_own, without_own};
use linkgate::session::id::Claimed;

/// Panics where that does not hold.
pub fn check(raw: &[u8]) {
    let mut headers = HeaderMap::new();
    for field in raw.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(COOKIE, value);
        }
    }
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let others: Vec<&[u8]> = fields.flat_map(pairs).filter(|pair| !is_own(pair)).collect();
    let left = without_own(&headers);
    let left = left.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    assert_eq!(pairs(left).collect::<Vec<_>>(), others);
    let shown = String::from_utf8_lossy(left).to_ascii_lowercase();
    let names = shown.split(';').map(|pair| pair.split('=').next().unwrap_or_default().trim_ascii());
    let own = |name: &str| name.strip_prefix("__host-").unwrap_or(name) == "linkgate";
    assert!(!names.into_iter().any(own), "{shown}");
    for jar in [Jar::new(true), Jar::new(false)] {
        for kind in [Kind::Session, Kind::Browser, Kind::Device] {
            let values = jar.values(kind, &headers);
            assert!(values.len() <= 4);
            values.into_iter().for_each(session);
        }
    }
}

fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn session(value: &str) {
    if Claimed::parse(value).is_some() {
        let bytes = from_base64url(value).expect("a session's name is base64url");
        assert_eq!(base64url(&bytes), value, "one name, one spelling");
    }
}
