//! Paths, hosts, targets and client addresses: what is accepted has one meaning, for whoever reads it next.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, Uri};
use linkgate::origin::Authority;
use linkgate::proxy::canonical::{CanonicalPath, client_address, split_target};

/// Panics where that does not hold.
pub fn check(raw: &[u8]) {
    path(raw);
    target(raw);
    authority(raw);
    client(raw);
}

/// The canonical form is its own canonical form, and lies where it says for a server that decodes it again.
fn path(raw: &[u8]) {
    let Ok(path) = CanonicalPath::parse(raw) else { return };
    assert_eq!(CanonicalPath::parse(path.as_str().as_bytes()).as_ref(), Ok(&path), "a fixed point");
    let written: Vec<Vec<u8>> = segments(path.as_str().as_bytes());
    let mut read = path.as_str().as_bytes().to_vec();
    let mut expected = written;
    for _ in 0..2 {
        read = decode(&read);
        expected = expected.iter().map(|segment| decode(segment)).collect();
        let found = segments(&read);
        assert_eq!(found, expected, "{path:?} is elsewhere as {}", read.escape_ascii());
        let climbs = |segment: &Vec<u8>| matches!(segment.as_slice(), b"." | b"..");
        assert!(!found.iter().any(climbs), "{path:?} climbs as {}", read.escape_ascii());
        assert!(!read.contains(&b'\\') && !read.contains(&0), "{path:?} has other signs as {}", read.escape_ascii());
    }
    let parameters = |segment: &Vec<u8>| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
    let climbs = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    let named = segments(&decode(path.as_str().as_bytes()));
    assert!(!named.iter().map(parameters).any(|name| climbs(&name)), "{path:?} climbs without its parameters");
    let mut prefix = path.as_str();
    while let Some((shorter, _)) = prefix.rsplit_once('/') {
        assert!(path.is_below(prefix) && path.is_below(shorter), "{path:?} is below {prefix}");
        assert!(!path.is_below(&format!("{prefix}x")), "{prefix}");
        prefix = shorter;
    }
}

/// The segments that say something, as servers see them that merge slashes.
fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).map(<[u8]>::to_vec).collect()
}

/// What a server makes of escapes that does not look what they stand for.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            decoded.push(u8::try_from(high << 4 | low).expect("two hexadecimal digits are a byte"));
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

/// What is forwarded reads as the same path and query again, and the portal can be called with it.
fn target(raw: &[u8]) {
    // The framework refuses what is no URI.
    if Uri::try_from(raw).is_err() {
        return;
    }
    let Ok((path, query)) = split_target(raw) else { return };
    let Ok(path) = CanonicalPath::parse(path) else { return };
    let forwarded = query.map_or(path.as_str().to_owned(), |query| format!("{}?{query}", path.as_str()));
    assert_eq!(split_target(forwarded.as_bytes()), Ok((path.as_str().as_bytes(), query)));
    forwarded.parse::<Uri>().expect("what is forwarded is a URI");
}

/// A host has one spelling.
fn authority(raw: &[u8]) {
    let Some(text) = std::str::from_utf8(raw).ok() else { return };
    let Some(authority) = Authority::parse(text) else { return };
    let written = authority.port.map_or(authority.host.clone(), |port| format!("{}:{port}", authority.host));
    assert_eq!(Authority::parse(&written).as_ref(), Some(&authority), "a fixed point");
    assert_eq!(Authority::parse(&text.to_ascii_uppercase()).as_ref(), Some(&authority), "in any case");
    assert!(!authority.host.ends_with('.') && !authority.host.contains(['/', '@', '%', '\\', ' ']), "{authority:?}");
}

/// A visitor's address is the peer's, or one that the last trusted proxy wrote.
fn client(raw: &[u8]) {
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let mut headers = HeaderMap::new();
    for field in raw.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append("x-forwarded-for", value);
        }
    }
    let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
    assert_eq!(client_address(stranger, &headers, &trusted), stranger.ip(), "a stranger's list says nothing");
    let proxy = SocketAddr::from(([10, 0, 0, 1], 1));
    let found = client_address(proxy, &headers, &trusted);
    headers.append("x-forwarded-for", HeaderValue::from_static("192.0.2.7"));
    assert_eq!(client_address(proxy, &headers, &trusted), IpAddr::from([192, 0, 2, 7]), "the last entry decides");
    headers.append("x-forwarded-for", HeaderValue::from_static("10.0.0.2, 10.0.0.3"));
    assert_eq!(client_address(proxy, &headers, &trusted), IpAddr::from([192, 0, 2, 7]), "proxies are passed over");
    assert_eq!(found, found.to_canonical(), "in one form");
}
