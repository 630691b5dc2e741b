//! The path of a request in its one spelling. What two servers could read as two paths has none.

use super::Malformed;

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
