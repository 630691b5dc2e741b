//! What kind of request this is: a person following a link, a form of ours, or a program.

use std::net::IpAddr;

use http::{HeaderMap, Method, header};

use crate::origin::Origin;
pub use crate::origin::is_same_origin;
use crate::pages::Reader;
use crate::session::Place;

/// What the proxy knows about a request that the portal answers.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The visitor's address.
    pub client: IpAddr,
    /// The name of the request, the same in answer and log.
    pub request_id: String,
    /// Where the visitor is: a host of ours, by the configured scheme and port.
    pub origin: Origin,
    /// Whether that is where visitors sign in.
    pub is_public: bool,
    /// In which language they read, and where they are.
    pub reader: Reader,
}

impl Visit {
    /// Which host's cookies count.
    pub fn place(&self) -> Place<'_> {
        if self.is_public { Place::Public } else { Place::Host(&self.origin.host) }
    }
}

/// Whether a person's browser is opening a page: only then is a redirect to sign-in of use.
///
/// Fetch metadata decides where it is sent (W3C Fetch Metadata); otherwise `Accept` does.
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if method != Method::GET && method != Method::HEAD {
        return false;
    }
    let field = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    if field("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
        return false;
    }
    if let Some(mode) = field("sec-fetch-mode") {
        return mode == b"navigate" && field("sec-fetch-dest").is_none_or(|dest| dest == b"document");
    }
    wants_page(headers) && field("x-requested-with").is_none()
}

/// Whether the answer is for a person: HTML is asked for by name.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|field| field.to_str().ok());
    accepted.flat_map(|field| field.split(',')).any(|range| {
        let name = range.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("text/html") || name.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

/// Whether the request is a call of gRPC, whose answers have a form of their own.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.first().is_none_or(|sign| matches!(sign, b'+' | b';' | b' ')))
}

/// Whether a browser is only looking ahead: nothing may be spent then.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    ["purpose", "sec-purpose", "x-purpose", "x-moz"].iter().any(|name| headers.contains_key(*name))
}

/// Whether the request was made on purpose by a top-level navigation, as far as the browser tells.
pub fn is_deliberate(headers: &HeaderMap) -> bool {
    let is = |name: &str, expected: &[u8]| headers.get(name).is_none_or(|value| value.as_bytes() == expected);
    is("sec-fetch-mode", b"navigate") && is("sec-fetch-dest", b"document") && !is_prefetch(headers)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn navigations_are_told_by_fetch_metadata_first() {
        let check = |fields: &[(&'static str, &'static str)], expected: bool| {
            assert_eq!(is_navigation(&Method::GET, &headers(fields)), expected, "{fields:?}");
        };
        let html = ("accept", "text/html,*/*;q=0.8");
        check(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true);
        check(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), html], false);
        check(&[("sec-fetch-mode", "cors"), html], false);
        check(&[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), html], false);
        check(&[html], true);
        check(&[html, ("x-requested-with", "XMLHttpRequest")], false);
        check(&[html, ("upgrade", "WebSocket")], false);
        check(&[html, ("upgrade", "h2c"), ("upgrade-insecure-requests", "1")], true);
        check(&[("accept", "application/json")], false);
        check(&[("accept", "*/*")], false);
        check(&[], false);
        assert!(!is_navigation(&Method::POST, &headers(&[html])));
        assert!(is_navigation(&Method::HEAD, &headers(&[html])));
    }

    #[test]
    fn looking_ahead_is_not_deliberate() {
        assert!(is_deliberate(&headers(&[])));
        assert!(is_deliberate(&headers(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")])));
        for fields in [
            [("purpose", "prefetch")],
            [("sec-purpose", "prefetch;prerender")],
            [("x-moz", "prefetch")],
            [("sec-fetch-dest", "iframe")],
            [("sec-fetch-mode", "cors")],
        ] {
            assert!(!is_deliberate(&headers(&fields)), "{fields:?}");
        }
    }
}
