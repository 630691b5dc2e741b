//! A request in one meaning: host, path, framing and client address are read once, and what has two readings
//! is refused. The verdict and the upstream both get what is made here.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use ipnet::IpNet;

use crate::origin::Authority;
use crate::proxy::Limits;

/// Why a request is not forwarded, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No `Host`, several, or one that is not host and port (RFC 9112 section 3.2).
    #[error("the Host field is missing, doubled or malformed")]
    Host,
    /// The target is not a path, or its path has two readings.
    #[error("the path has no single meaning")]
    Path,
    /// Body framing that two servers could read in two ways (RFC 9112 section 6.3).
    #[error("the length of the body has no single meaning")]
    Framing,
    /// A header value that no program needs to send.
    #[error("a header field is malformed")]
    Field,
    /// Header fields beyond their limits.
    #[error("the header fields are too large")]
    TooLarge,
    /// A target beyond its limit.
    #[error("the address is too long")]
    TargetTooLong,
    /// TRACE or CONNECT.
    #[error("the method is not allowed")]
    Method,
    /// A method that linkgate does not know.
    #[error("the method is not known")]
    UnknownMethod,
    /// An expectation other than `100-continue`.
    #[error("the expectation cannot be met")]
    Expectation,
}

impl Malformed {
    /// The status that says it (RFC 9110 section 15.5, RFC 6585).
    pub const fn status(self) -> u16 {
        match self {
            Self::Host | Self::Path | Self::Framing | Self::Field => 400,
            Self::Method => 405,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TooLarge => 431,
            Self::UnknownMethod => 501,
        }
    }
}

/// The one spelling of a path: absolute, no dot segments, no repeated slashes, no escape that need not be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// Reads the path of a request target (RFC 3986 section 6.2.2).
    ///
    /// Escapes of unreserved characters are resolved and repeated slashes merged. Refused are dot segments in any
    /// spelling, segments that some servers take for one (`..;x`), encoded or raw backslashes, controls and slashes,
    /// escapes of what would be a dot or a slash after a second reading, broken escapes, and what is not UTF-8.
    pub fn parse(raw: &[u8]) -> Result<Self, Malformed> {
        if raw.first() != Some(&b'/') {
            return Err(Malformed::Path);
        }
        match plain(raw) {
            Some(path) => Ok(Self(path.to_owned())),
            None => Self::parse_any(raw),
        }
    }

    fn parse_any(raw: &[u8]) -> Result<Self, Malformed> {
        let mut path = Vec::with_capacity(raw.len());
        let mut decoded = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((&byte, after)) = rest.split_first() {
            let escaped = byte == b'%';
            let (byte, after) = if escaped { unescape(after)? } else { (byte, after) };
            rest = after;
            decoded.push(byte);
            match byte {
                0..=0x1f | 0x7f | b'\\' => return Err(Malformed::Path),
                b'/' if escaped => return Err(Malformed::Path),
                b'/' if path.last() == Some(&b'/') => {}
                _ if escaped && is_unreserved(byte) => path.push(byte),
                _ if escaped || !(byte.is_ascii_graphic()) => push_escaped(&mut path, byte),
                _ => path.push(byte),
            }
        }
        if std::str::from_utf8(&decoded).is_err() {
            return Err(Malformed::Path);
        }
        let path = String::from_utf8(path).map_err(|_| Malformed::Path)?;
        // In the finished path, where the escape behind an encoded percent sign is not itself spelled in escapes.
        let hides =
            path.match_indices("%25").any(|(at, percent)| hides_structure(&path.as_bytes()[at + percent.len()..]));
        if hides || path.split('/').any(is_dot_segment) {
            return Err(Malformed::Path);
        }
        Ok(Self(path))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path is `prefix` or lies below it, on whole segments.
    pub fn is_below(&self, prefix: &str) -> bool {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        self.start(prefix.len()) == Some(prefix)
    }

    /// The first `length` bytes, where a segment ends with them.
    pub fn start(&self, length: usize) -> Option<&str> {
        let (start, rest) = self.0.split_at_checked(length)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(start)
    }
}

/// A path that is its one spelling already: no escapes, and nothing that begins a segment but a letter or a digit.
fn plain(raw: &[u8]) -> Option<&str> {
    const BEGINS: u8 = 1;
    const GOES_ON: u8 = 2;
    const KINDS: [u8; 256] = {
        let mut kinds = [0; 256];
        let mut byte: u8 = 0;
        while byte.is_ascii() {
            if byte.is_ascii_alphanumeric() {
                kinds[byte as usize] = BEGINS | GOES_ON;
            } else if is_unreserved(byte) {
                kinds[byte as usize] = GOES_ON;
            }
            byte += 1;
        }
        kinds
    };
    let mut may_come = GOES_ON;
    for &byte in raw {
        if byte == b'/' {
            if may_come == BEGINS {
                return None;
            }
            may_come = BEGINS;
        } else if KINDS[usize::from(byte)] & may_come == 0 {
            return None;
        } else {
            may_come = GOES_ON;
        }
    }
    std::str::from_utf8(raw).ok()
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn unescape(after_percent: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let (pair, rest) = after_percent.split_at_checked(2).ok_or(Malformed::Path)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (digit(pair[0]), digit(pair[1])) {
        (Some(high), Some(low)) => Ok((high << 4 | low, rest)),
        _ => Err(Malformed::Path),
    }
}

/// Whether the text behind an encoded percent sign reads as an encoded dot, slash, backslash or NUL the next time.
fn hides_structure(mut rest: &[u8]) -> bool {
    while let Some(deeper) = rest.strip_prefix(b"25") {
        rest = deeper;
    }
    let pair: Vec<u8> = rest.iter().take(2).map(u8::to_ascii_lowercase).collect();
    matches!(pair.as_slice(), b"2e" | b"2f" | b"5c" | b"00")
}

fn push_escaped(path: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    path.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

/// Servlet containers cut `;…` off a segment before they resolve it, so `..;x` climbs there.
fn is_dot_segment(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let name = name.split("%3B").next().unwrap_or_default();
    matches!(name, "." | "..") || (name.is_empty() && !segment.is_empty())
}

/// Path and query of a request target: in origin form, or in absolute form (RFC 9112 section 3.2), whose authority
/// the framework has compared with `Host`. The framework makes `/` of any other target, so its reading is not used.
pub fn split_target(raw: &[u8]) -> Result<(&[u8], Option<&str>), Malformed> {
    let path_and_query = if raw.first() == Some(&b'/') { raw } else { behind_authority(raw).ok_or(Malformed::Path)? };
    let mut halves = path_and_query.splitn(2, |byte| *byte == b'?');
    let path = halves.next().filter(|path| !path.is_empty()).unwrap_or(b"/");
    let query = halves.next().map(std::str::from_utf8).transpose().map_err(|_| Malformed::Path)?;
    Ok((path, query))
}

fn behind_authority(raw: &[u8]) -> Option<&[u8]> {
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes())))?;
    let rest = &raw[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some(&rest[end..])
}

/// Whether a header as it was sent announces a length. The framework drops `Content-Length` where
/// `Transfer-Encoding` stands too, and such a request may have been made for somebody who reads it otherwise.
pub fn names_length(header: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    header
        .split(|byte| *byte == b'\n')
        .any(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
}

/// The authority of a request: from its one `Host` field or, in HTTP/2, from `:authority`, which a `Host` beside it
/// must equal (RFC 9113 section 8.3.1).
pub fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Malformed> {
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().ok().and_then(Authority::parse));
    let authority = uri.authority().filter(|_| version == Version::HTTP_2);
    match (authority.map(|authority| Authority::parse(authority.as_str())), hosts.next(), hosts.next()) {
        (Some(Some(authority)), None, None) => Ok(authority),
        (Some(Some(authority)), Some(Some(host)), None) if authority == host => Ok(authority),
        (None, Some(Some(host)), None) => Ok(host),
        _ => Err(Malformed::Host),
    }
}

/// The one `Host` field of a request, or the `:authority` of one in HTTP/2 that has no such field, as it is written.
pub fn only_host<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if version != Version::HTTP_2 => Some(host.as_bytes()),
        (None, None) if version == Version::HTTP_2 => Some(uri.authority()?.as_str().as_bytes()),
        _ => None,
    }
}

/// Refuses methods, body framing, expectations and sizes that are not passed on.
pub fn check(
    method: &Method,
    version: Version,
    target: &[u8],
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<(), Malformed> {
    check_method(method)?;
    if target.len() > limits.target_bytes {
        return Err(Malformed::TargetTooLong);
    }
    let mut bytes = 0;
    let mut is_plain = true;
    for (name, value) in headers {
        bytes += name.as_str().len() + value.len();
        is_plain &= *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != EXPECT;
    }
    if headers.len() > limits.header_fields || bytes > limits.header_bytes {
        return Err(Malformed::TooLarge);
    }
    // Most requests announce no body, and expect nothing.
    if is_plain {
        return Ok(());
    }
    body_length(version, headers)?;
    let met = |expectation: &HeaderValue| expectation.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(met) { Ok(()) } else { Err(Malformed::Expectation) }
}

/// RFC 9110, PATCH (RFC 5789), WebDAV and its kin (RFC 4918, 3253, 3648, 3744, 4791, 5323, 5842).
const METHODS: [&str; 32] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "VERSION-CONTROL",
    "CHECKOUT",
    "CHECKIN",
    "UNCHECKOUT",
    "MKWORKSPACE",
    "UPDATE",
    "LABEL",
    "MERGE",
    "BASELINE-CONTROL",
    "MKACTIVITY",
    "ORDERPATCH",
    "ACL",
    "MKCALENDAR",
    "SEARCH",
    "BIND",
    "UNBIND",
    "REBIND",
];

/// Refuses methods that are never passed on.
pub fn check_method(method: &Method) -> Result<(), Malformed> {
    match method.as_str() {
        "GET" | "POST" => Ok(()),
        "TRACE" | "CONNECT" => Err(Malformed::Method),
        name if METHODS.contains(&name) => Ok(()),
        _ => Err(Malformed::UnknownMethod),
    }
}

/// The length that a body says it has, 0 where it says nothing.
///
/// # Errors
/// Where it can be read in more than one way, or not at all.
pub fn body_length(version: Version, headers: &HeaderMap) -> Result<u64, Malformed> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(0),
        (Some(encoding), None) => {
            let alone = encodings.next().is_none() && version != Version::HTTP_10;
            let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if alone && chunked { Ok(0) } else { Err(Malformed::Framing) }
        }
        (None, Some(length)) => {
            let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let alone = lengths.next().is_none();
            digits.filter(|_| alone).and_then(|digits| digits.parse().ok()).ok_or(Malformed::Framing)
        }
        (Some(_), Some(_)) => Err(Malformed::Framing),
    }
}

/// The address that limits, logs and the upstream see: the peer, or, where the peer is a trusted proxy, the
/// right-most entry of `X-Forwarded-For` that is not one. A malformed list ends at its last good entry.
pub fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.ip().to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let fields: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let entries = fields.iter().rev().flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries {
        let Some(address) = std::str::from_utf8(entry).ok().and_then(|text| text.trim().parse::<IpAddr>().ok()) else {
            return client;
        };
        client = address.to_canonical();
        if !is_trusted(client) {
            return client;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(raw: &str) -> Option<String> {
        CanonicalPath::parse(raw.as_bytes()).ok().map(|path| path.0)
    }

    #[test]
    fn paths_have_one_spelling() {
        let check = |raw: &str, expected: &str| assert_eq!(path(raw).as_deref(), Some(expected), "{raw:?}");
        check("/", "/");
        check("/a/b/", "/a/b/");
        check("/%61dmin", "/admin");
        check("/%7Eada/%2d", "/~ada/-");
        check("//admin", "/admin");
        check("/a//b///c", "/a/b/c");
        check("/a%20b", "/a%20b");
        check("/a%3fb%23c", "/a%3Fb%23c");
        check("/caf%c3%a9", "/caf%C3%A9");
        check("/café", "/caf%C3%A9");
        check("/100%25", "/100%25");
        check("/a%253Fb", "/a%253Fb");
        check("/a;v=1/b", "/a;v=1/b");
        check("/...", "/...");
        check("/.well-known/x", "/.well-known/x");
        check("/a..b", "/a..b");
    }

    #[test]
    fn paths_with_two_readings_are_refused() {
        for raw in [
            "",
            "a",
            "*",
            "?x",
            "http://x/",
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/.%2e/admin",
            "/public/%2E./admin",
            "/public/..\\admin",
            "/public/%5c..",
            "/a\\b",
            "/public/%252e%252e/admin",
            "/a%25252e",
            "/a%252fb",
            "/a%255Cb",
            "/a%2500",
            "/public/%25%32%65%25%32%65/admin",
            "/a%25%32f",
            "/a%252%46",
            "/a%25%32%35%32e",
            "/./admin",
            "/a/.",
            "/a/..",
            "/public//../admin",
            "/a%2fb",
            "/a%2Fb",
            "/a%00",
            "/a%0d%0a",
            "/a%7f",
            "/a\u{0}",
            "/a\tb",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%c3",
            "/a%ff",
            "/public/..;/admin",
            "/public/..;x=1/admin",
            "/public/..%3b/admin",
            "/public/.;/admin",
            "/;x/admin",
            "/public/%3bx/admin",
        ] {
            assert_eq!(path(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let below = |raw: &str, prefix: &str| CanonicalPath::parse(raw.as_bytes()).unwrap().is_below(prefix);
        assert!(below("/", "/"));
        assert!(below("/a", "/"));
        assert!(below("/public", "/public"));
        assert!(below("/public/x", "/public"));
        assert!(below("/public/x", "/public/"));
        assert!(!below("/publicity", "/public"));
        assert!(!below("/public;x", "/public"));
        assert!(!below("/PUBLIC/x", "/public"));
        assert!(!below("/a/public", "/public"));
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn targets_are_in_origin_form_or_absolute() {
        let check = |raw: &[u8], expected: Option<(&str, Option<&str>)>| {
            let expected = expected.map(|(path, query)| (path.as_bytes(), query)).ok_or(Malformed::Path);
            assert_eq!(split_target(raw), expected, "{}", raw.escape_ascii());
        };
        check(b"/", Some(("/", None)));
        check(b"/a?b?c", Some(("/a", Some("b?c"))));
        check(b"/a?", Some(("/a", Some(""))));
        check(b"http://a.example/b?c", Some(("/b", Some("c"))));
        check(b"HTTPS://a.example:8443", Some(("/", None)));
        check(b"http://a.example?c", Some(("/", Some("c"))));
        check(b"/a?\xc3\xa9", Some(("/a", Some("é"))));
        check(b"/a?\xff", None);
        for raw in ["", "a", "?x", "*", "a.example:80", "ftp://a.example/", "http:/a", "http:a"] {
            check(raw.as_bytes(), None);
        }
    }

    #[test]
    fn a_length_is_found_in_the_header_as_it_was_sent() {
        assert!(names_length(b"POST / HTTP/1.1\r\nHost: a\r\nconTent-length: 5\r\n\r\n"));
        assert!(names_length(b"POST / HTTP/1.1\nContent-Length:5\n\n"));
        assert!(!names_length(b"POST /content-length: HTTP/1.1\r\nX-Content-Length: 5\r\n\r\n"));
    }

    #[test]
    fn a_request_has_one_host() {
        let host = |headers: &HeaderMap| host(Version::HTTP_11, &Uri::from_static("/"), headers);
        assert_eq!(host(&map(&[("host", "A.example:80")])).unwrap().host, "a.example");
        for fields in [
            &[][..],
            &[("host", "")],
            &[("host", "a.example"), ("host", "a.example")],
            &[("host", "a.example/x")],
            &[("host", "user@a.example")],
            &[("host", "a b")],
        ] {
            assert_eq!(host(&map(fields)), Err(Malformed::Host), "{fields:?}");
        }
    }

    #[test]
    fn a_host_that_is_named_once_is_taken_as_it_is_written() {
        let (path, whole) = (Uri::from_static("/"), Uri::from_static("https://A.example:80/"));
        let only_host = |version, uri, fields: &[_]| only_host(version, uri, &map(fields)).map(<[u8]>::to_vec);
        let one = &[("host", "B.example")][..];
        let two = &[("host", "B.example"), ("host", "B.example")][..];
        for (version, uri, fields, expected) in [
            (Version::HTTP_11, &path, one, Some("B.example")),
            (Version::HTTP_11, &whole, one, Some("B.example")),
            (Version::HTTP_11, &whole, &[], None),
            (Version::HTTP_11, &path, two, None),
            (Version::HTTP_2, &whole, &[], Some("A.example:80")),
            (Version::HTTP_2, &whole, one, None),
            (Version::HTTP_2, &path, &[], None),
            (Version::HTTP_2, &path, one, None),
        ] {
            let expected = expected.map(|host| host.as_bytes().to_vec());
            assert_eq!(only_host(version, uri, fields), expected, "{version:?} {uri} {fields:?}");
        }
    }

    fn check_request(method: &str, version: Version, fields: &[(&'static str, &'static str)]) -> Result<(), Malformed> {
        check(&method.parse().unwrap(), version, b"/", &map(fields), &Limits::default())
    }

    #[test]
    fn framing_has_one_reading() {
        let check = |fields: &[(&'static str, &'static str)]| check_request("POST", Version::HTTP_11, fields);
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("content-length", "5")]), Ok(()));
        assert_eq!(check(&[("transfer-encoding", "Chunked")]), Ok(()));
        for fields in [
            &[("content-length", "5"), ("content-length", "5")][..],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "identity")],
        ] {
            assert_eq!(check(fields), Err(Malformed::Framing), "{fields:?}");
        }
        let old = check_request("POST", Version::HTTP_10, &[("transfer-encoding", "chunked")]);
        assert_eq!(old, Err(Malformed::Framing));
    }

    #[test]
    fn methods_and_expectations_are_on_a_list() {
        let check = |method: &str, fields: &[(&'static str, &'static str)]| {
            check_request(method, Version::HTTP_11, fields).map_err(Malformed::status)
        };
        assert_eq!(check("PROPFIND", &[]), Ok(()));
        assert_eq!(check("TRACE", &[]), Err(405));
        assert_eq!(check("CONNECT", &[]), Err(405));
        assert_eq!(check("BREW", &[]), Err(501));
        assert_eq!(check("get", &[]), Err(501));
        assert_eq!(check("PUT", &[("expect", "100-Continue")]), Ok(()));
        assert_eq!(check("PUT", &[("expect", "200-ok")]), Err(417));
        assert_eq!(check("PUT", &[("expect", "100-continue"), ("expect", "200-ok")]), Err(417));
    }

    #[test]
    fn sizes_are_bounded() {
        let limits = Limits { header_bytes: 20, header_fields: 2, target_bytes: 4, ..Limits::default() };
        let check = |target: &str, fields: &[(&'static str, &'static str)]| {
            check(&Method::GET, Version::HTTP_11, target.as_bytes(), &map(fields), &limits).map_err(Malformed::status)
        };
        assert_eq!(check("/abc", &[("a", "b"), ("c", "d")]), Ok(()));
        assert_eq!(check("/abcd", &[]), Err(414));
        assert_eq!(check("/", &[("a", "b"), ("c", "d"), ("e", "f")]), Err(431));
        assert_eq!(check("/", &[("a", "twenty characters and")]), Err(431));
    }

    #[test]
    fn the_client_is_the_first_address_that_is_not_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let check = |peer: &str, fields: &[(&'static str, &'static str)], expected: &str| {
            let found = client_address(peer.parse().unwrap(), &map(fields), &trusted);
            assert_eq!(found.to_string(), expected, "{fields:?}");
        };
        let xff = "x-forwarded-for";
        check("192.0.2.1:5", &[(xff, "198.51.100.7")], "192.0.2.1");
        check("10.0.0.1:5", &[], "10.0.0.1");
        check("10.0.0.1:5", &[(xff, "198.51.100.7")], "198.51.100.7");
        check("10.0.0.1:5", &[(xff, "203.0.113.9, 198.51.100.7, 10.0.0.2")], "198.51.100.7");
        check("10.0.0.1:5", &[(xff, "203.0.113.9"), (xff, "198.51.100.7")], "198.51.100.7");
        check("10.0.0.1:5", &[(xff, "203.0.113.9, nonsense, 10.0.0.2")], "10.0.0.2");
        check("[::ffff:10.0.0.1]:5", &[(xff, "::ffff:198.51.100.7")], "198.51.100.7");
        check("[::1]:5", &[(xff, "2001:db8::1")], "2001:db8::1");
    }

    proptest! {
        #[test]
        fn the_canonical_path_is_a_fixed_point(raw in "/[ -~é]{0,30}") {
            if let Ok(path) = CanonicalPath::parse(raw.as_bytes()) {
                prop_assert_eq!(CanonicalPath::parse(path.0.as_bytes()), Ok(path));
            }
        }

        #[test]
        fn a_path_that_is_plain_is_read_as_any_other(raw in "/[a-cA-C0-2/._~;%-]{0,20}") {
            if let Some(path) = plain(raw.as_bytes()) {
                prop_assert_eq!(CanonicalPath::parse_any(raw.as_bytes()), Ok(CanonicalPath(path.to_owned())));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                prop_assert!(path.0.is_ascii() && path.0.starts_with('/') && !path.0.contains("//"));
            }
        }
    }
}
