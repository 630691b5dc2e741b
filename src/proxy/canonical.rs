//! A request in one meaning: host, path, framing and client address are read once, and what has two readings
//! is refused. The verdict and the upstream both get what is made here.

use std::net::{IpAddr, SocketAddr};

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use ipnet::IpNet;

use crate::origin::Authority;
use crate::proxy::Limits;

mod path;

pub use path::CanonicalPath;

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
    use super::*;

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
}
