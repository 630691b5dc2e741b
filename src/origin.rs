//! Where things are: the authority of a `Host` header and the configured public origin, each in one spelling.

use std::collections::BTreeSet;
use std::fmt;

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use url::Url;

/// Host and port of a request, canonical: lower case, IDNA, no trailing dot, default ports left open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Authority {
    /// A domain name or an address as `url` writes it (`[::1]` for IPv6).
    pub host: String,
    /// The port where one was written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads the value of a `Host` header or an `:authority` (RFC 9110 section 7.2); `None` when it has two readings.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if text.is_empty() || text.len() > 300 || !text.bytes().all(plain) {
            return None;
        }
        let (host, port) = match text.rfind(':') {
            Some(colon) if !text.ends_with(']') => {
                let (host, port) = (&text[..colon], &text[colon + 1..]);
                if port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                (host, Some(port.parse().ok()?))
            }
            _ => (text, None),
        };
        let host = url::Host::parse(host).ok()?.to_string();
        let host = host.strip_suffix('.').unwrap_or(&host);
        (!host.is_empty() && !host.ends_with('.')).then(|| Self { host: host.to_owned(), port })
    }
}

/// As in a `Host` header.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl From<Authority> for String {
    fn from(authority: Authority) -> Self {
        authority.to_string()
    }
}

impl TryFrom<String> for Authority {
    type Error = BadAuthority;

    fn try_from(text: String) -> Result<Self, BadAuthority> {
        Self::parse(&text).ok_or(BadAuthority)
    }
}

/// Not host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host name like \"app.example.com\", with a port where it needs one")]
pub struct BadAuthority;

/// How visitors reach the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP, for this machine only.
    Http,
    /// HTTPS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme leaves out.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The public address of the gateway, from configuration alone: scheme, host and port, no path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    /// How visitors reach it.
    pub scheme: Scheme,
    /// The host in canonical form.
    pub host: String,
    /// The port, the scheme's own where the URL has none.
    pub port: u16,
}

impl Origin {
    /// Whether a request with this authority is meant for the origin: same host, same port.
    pub fn is(&self, authority: &Authority) -> bool {
        self.host == authority.host && self.port == authority.port.unwrap_or(self.scheme.default_port())
    }

    /// Host and port as a `Host` header carries them: the scheme's own port is left out.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The absolute URL of a path below the origin.
    pub fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// Whether only this machine can reach the host.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || match url::Host::parse(&self.host) {
                Ok(url::Host::Ipv4(address)) => address.is_loopback(),
                Ok(url::Host::Ipv6(address)) => address.is_loopback(),
                _ => false,
            }
    }

    /// Whether cookies carry `Secure` and the `__Host-` prefix: always, but on plain HTTP.
    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::Https
    }
}

/// As in a URL, without a trailing slash.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl TryFrom<String> for Origin {
    type Error = BadOrigin;

    fn try_from(text: String) -> Result<Self, BadOrigin> {
        let url = Url::parse(&text).map_err(|_| BadOrigin::NotAUrl)?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(BadOrigin::Scheme),
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(BadOrigin::Path);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadOrigin::NotAUrl);
        }
        let host = url.host_str().ok_or(BadOrigin::NotAUrl)?.trim_end_matches('.').to_owned();
        // The same reader as for requests, so that what is configured can be met by a request.
        Authority::parse(&host).ok_or(BadOrigin::Host)?;
        let origin = Self { scheme, host, port: url.port().unwrap_or(scheme.default_port()) };
        if origin.scheme == Scheme::Http && !origin.is_loopback() {
            return Err(BadOrigin::PlainHttp);
        }
        Ok(origin)
    }
}

/// Whether a form was sent from a page of ours. Browsers that send fetch metadata say so by it (and then send
/// `Origin: null`, as our pages ask for no referrer); others by `Origin`; programs that send neither are held by
/// the form's token alone.
pub fn is_same_origin(headers: &HeaderMap, visited: &Origin) -> bool {
    let origin = headers.get(header::ORIGIN).map(http::HeaderValue::as_bytes);
    let ours = origin.is_some_and(|origin| origin == visited.to_string().as_bytes());
    match headers.get("sec-fetch-site") {
        Some(site) => site.as_bytes() == b"same-origin" && (ours || origin.is_none_or(|origin| origin == b"null")),
        None => ours || origin.is_none(),
    }
}

/// Every host that is ours. All of them share the scheme and the port of the public address.
#[derive(Clone, Debug)]
pub struct Hosts {
    public_url: Origin,
    named: BTreeSet<String>,
    /// Domains every name below which is ours.
    above: BTreeSet<String>,
}

impl Hosts {
    /// The host of `public_url`, and `others`: names in canonical form, or `*.` and a domain.
    pub fn new<'a>(public_url: &Origin, others: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut named, mut above) = (BTreeSet::new(), BTreeSet::new());
        for host in others {
            match host.strip_prefix("*.") {
                Some(domain) => above.insert(domain.to_owned()),
                None => named.insert(host.to_owned()),
            };
        }
        named.remove(&public_url.host);
        Self { public_url: public_url.clone(), named, above }
    }

    /// Where visitors sign in.
    pub const fn public_url(&self) -> &Origin {
        &self.public_url
    }

    /// The origin of a host, where that is ours.
    pub fn origin(&self, host: &str) -> Option<Origin> {
        let is_below = |domain: &String| host.strip_suffix(domain.as_str()).is_some_and(|start| start.ends_with('.'));
        let is_ours = host == self.public_url.host || self.named.contains(host) || self.above.iter().any(is_below);
        is_ours.then(|| Origin { host: host.to_owned(), ..self.public_url.clone() })
    }

    /// The origins beside the public one, those of a domain with a star.
    pub fn others(&self) -> impl Iterator<Item = Origin> {
        let starred = self.above.iter().map(|domain| format!("*.{domain}"));
        self.named.iter().cloned().chain(starred).map(|host| Origin { host, ..self.public_url.clone() })
    }
}

/// Why a text cannot be the public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// It does not parse.
    #[error("expected a URL like \"https://app.example.com\"")]
    NotAUrl,
    /// Neither `http` nor `https`.
    #[error("expected a URL that begins with https://")]
    Scheme,
    /// There is more than scheme, host and port.
    #[error("expected scheme, host and port only, without a path")]
    Path,
    /// The host is a pattern or has characters that no host has.
    #[error("expected one host name, not a pattern")]
    Host,
    /// Plain HTTP would show links and cookies to the network.
    #[error("plain http:// works for localhost only; sign-in on a network needs https://")]
    PlainHttp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn authorities_have_one_spelling() {
        let check = |input: &str, expected: Option<(&str, Option<u16>)>| {
            let found = Authority::parse(input).map(|found| (found.host, found.port));
            assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)), "{input:?}");
        };
        check("example.com", Some(("example.com", None)));
        check("EXAMPLE.com:8080", Some(("example.com", Some(8080))));
        check("example.com.", Some(("example.com", None)));
        check("127.0.0.1:80", Some(("127.0.0.1", Some(80))));
        check("[::1]:8080", Some(("[::1]", Some(8080))));
        check("[0:0::1]", Some(("[::1]", None)));
        for wrong in [
            "",
            ".",
            "..",
            "a..",
            ":80",
            "a b",
            "a/b",
            "user@host",
            "a<b",
            "host:",
            "host:x",
            "host:99999",
            "host:080080",
            "::1",
            "[::1",
            "a,b",
            "a\\b",
            "%61",
            "a?b",
            "a#b",
            "a:1:2",
            "*.example.com",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let check = |input: &str, expected: Result<&str, BadOrigin>| {
            let found = Origin::try_from(input.to_owned()).map(|origin| origin.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{input:?}");
        };
        check("https://App.example.com", Ok("https://app.example.com"));
        check("https://app.example.com:443/", Ok("https://app.example.com"));
        check("https://app.example.com:8443", Ok("https://app.example.com:8443"));
        check("http://localhost:8080", Ok("http://localhost:8080"));
        check("http://[::1]:8080", Ok("http://[::1]:8080"));
        check("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080"));
        check("app.example.com", Err(BadOrigin::NotAUrl));
        check("ftp://example.com", Err(BadOrigin::Scheme));
        check("https://example.com/app", Err(BadOrigin::Path));
        check("https://example.com/?x", Err(BadOrigin::Path));
        check("https://*.example.com", Err(BadOrigin::Host));
        check("https://user@example.com", Err(BadOrigin::NotAUrl));
        check("http://example.com", Err(BadOrigin::PlainHttp));
    }

    #[test]
    fn hosts_are_named_or_below_a_domain() {
        let public_url = Origin::try_from("https://app.example.com:8443".to_owned()).expect("it is an origin");
        let hosts = Hosts::new(&public_url, ["wiki.example.org", "*.pages.example.com", "app.example.com"]);
        let origin = |host: &str| hosts.origin(host).map(|origin| origin.to_string());
        for host in ["app.example.com", "wiki.example.org", "a.pages.example.com", "b.a.pages.example.com"] {
            assert_eq!(origin(host), Some(format!("https://{host}:8443")));
        }
        for host in ["pages.example.com", "evilpages.example.com", "example.org", "wiki.example.org.evil.test", ""] {
            assert_eq!(origin(host), None, "{host:?}");
        }
        let others: Vec<_> = hosts.others().map(|origin| origin.to_string()).collect();
        assert_eq!(others, ["https://wiki.example.org:8443", "https://*.pages.example.com:8443"]);
    }

    #[test]
    fn an_origin_is_met_by_host_and_port() {
        let is = |origin: &str, authority: &str| {
            Origin::try_from(origin.to_owned())
                .expect("the origin is well formed")
                .is(&Authority::parse(authority).expect("the authority is well formed"))
        };
        assert!(is("https://a.example", "a.example"));
        assert!(is("https://a.example", "A.example:443"));
        assert!(!is("https://a.example", "a.example:80"));
        assert!(!is("https://a.example", "b.example"));
        assert!(is("http://localhost:8080", "localhost:8080"));
        assert!(!is("http://localhost:8080", "localhost"));
    }

    proptest! {
        #[test]
        fn an_accepted_authority_is_a_fixed_point(text in "[ -~]{0,24}") {
            if let Some(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.host).map(|again| again.host), Some(authority.host));
            }
        }
    }

    #[test]
    fn forms_come_from_our_own_pages() {
        let origin = Origin::try_from("https://app.example.test".to_owned()).unwrap();
        let check = |fields: &[(&'static str, &'static str)], expected: bool| {
            let headers = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(is_same_origin(&headers, &origin), expected, "{fields:?}");
        };
        check(&[], true);
        check(&[("origin", "https://app.example.test")], true);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "null")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("origin", "null")], false);
        check(&[("origin", "https://evil.test")], false);
        check(&[("origin", "http://app.example.test")], false);
        check(&[("sec-fetch-site", "same-site"), ("origin", "https://app.example.test")], false);
        check(&[("sec-fetch-site", "cross-site"), ("origin", "null")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")], false);
    }
}
