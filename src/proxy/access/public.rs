//! The parts of a route that are open to everybody: what is not listed stays protected.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::portal::return_to::OWN_PREFIX;
use crate::proxy::canonical::{self, CanonicalPath};

/// One of `public`: a path, with all below it, that needs no sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PublicRule {
    /// The path.
    pub path: PublicPath,
    /// The methods for which it is; every one where there are none.
    #[serde(default)]
    pub methods: Option<Vec<PublicMethod>>,
}

impl PublicRule {
    /// Whether it opens `path` to `method`. Each method stands for itself: `GET` does not open `HEAD`.
    pub fn opens(&self, method: &Method, path: &CanonicalPath) -> bool {
        let is_named = |methods: &Vec<PublicMethod>| methods.iter().any(|named| named.0 == *method);
        path.is_below(&self.path.0) && self.methods.as_ref().is_none_or(is_named)
    }
}

/// A path as requests are compared with it: in the spelling that they are forwarded in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicPath(String);

impl PublicPath {
    /// The path, without a slash at its end; empty for all of the host.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PublicPath {
    type Error = BadPublicPath;

    fn try_from(text: String) -> Result<Self, BadPublicPath> {
        let is_plain = !text.contains(['?', '#', '%', '*', ';']);
        let canonical = CanonicalPath::parse(text.as_bytes()).ok().filter(|path| is_plain && path.as_str() == text);
        let first = text.split('/').nth(1).unwrap_or_default();
        match canonical {
            Some(_) if !OWN_PREFIX[1..].eq_ignore_ascii_case(first) => {
                Ok(Self(text.strip_suffix('/').unwrap_or(&text).to_owned()))
            }
            _ => Err(BadPublicPath),
        }
    }
}

impl From<PublicPath> for String {
    fn from(path: PublicPath) -> Self {
        if path.0.is_empty() { "/".to_owned() } else { path.0 }
    }
}

/// Not the beginning of a path as requests have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a plain path, like \"/static\", that stands for itself and all below it, and not the gateway's own")]
pub struct BadPublicPath;

/// A method that is passed on.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicMethod(Method);

impl fmt::Debug for PublicMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for PublicMethod {
    type Error = BadMethod;

    fn try_from(text: String) -> Result<Self, BadMethod> {
        let method = Method::from_bytes(text.as_bytes()).map_err(|_| BadMethod)?;
        canonical::check_method(&method).map(|()| Self(method)).map_err(|_| BadMethod)
    }
}

impl From<PublicMethod> for String {
    fn from(method: PublicMethod) -> Self {
        method.0.as_str().to_owned()
    }
}

/// Not a method that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a method in capitals, like \"GET\"")]
pub struct BadMethod;

/// What browsers fetch from the path of an application without credentials.
const NEXT_TO_THE_PAGE: [&str; 8] = [
    "apple-touch-icon-precomposed.png",
    "apple-touch-icon.png",
    "favicon.ico",
    "favicon.svg",
    "manifest.json",
    "manifest.webmanifest",
    "robots.txt",
    "site.webmanifest",
];

/// What browsers, and those who look after a site, fetch from below `/.well-known/` (RFC 8615).
const WELL_KNOWN: [&str; 5] =
    ["apple-app-site-association", "assetlinks.json", "change-password", "passkey-endpoints", "security.txt"];

/// Whether `path` is a file that browsers fetch without credentials for the application at `base`.
pub(super) fn is_browser_file(base: &str, method: &Method, path: &CanonicalPath) -> bool {
    if method != Method::GET && method != Method::HEAD {
        return false;
    }
    let below = |prefix: &str| path.as_str().strip_prefix(prefix)?.strip_prefix('/');
    below(base).is_some_and(|name| NEXT_TO_THE_PAGE.contains(&name))
        || below("/.well-known").is_some_and(|name| WELL_KNOWN.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CanonicalPath {
        CanonicalPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_rule_opens_whole_segments_to_the_methods_that_it_names() {
        let check = |rule: &str, method: Method, text: &str, expected: bool| {
            let rule: PublicRule = toml::from_str(rule).unwrap();
            assert_eq!(rule.opens(&method, &path(text)), expected, "{rule:?} {method} {text}");
        };
        check("path = '/static'", Method::GET, "/static", true);
        check("path = '/static'", Method::GET, "/static/", true);
        check("path = '/static'", Method::DELETE, "/static/a/b", true);
        check("path = '/static/'", Method::GET, "/static", true);
        check("path = '/static'", Method::GET, "/statics", false);
        check("path = '/static'", Method::GET, "/static;x/a", false);
        check("path = '/static'", Method::GET, "/Static", false);
        check("path = '/static'", Method::GET, "/", false);
        check("path = '/static'", Method::GET, "/a/static", false);
        check("path = '/'", Method::GET, "/a", true);
        check("path = '/a'\nmethods = ['GET', 'PROPFIND']", Method::GET, "/a", true);
        check("path = '/a'\nmethods = ['GET']", Method::HEAD, "/a", false);
        check("path = '/a'\nmethods = ['GET']", Method::POST, "/a", false);
        check("path = '/a'\nmethods = ['GET']", Method::OPTIONS, "/a", false);
        check("path = '/a'\nmethods = []", Method::GET, "/a", false);
    }

    #[test]
    fn paths_and_methods_have_one_spelling() {
        for wrong in [
            "",
            "static",
            "/a//b",
            "/a/../b",
            "/a/.",
            "/%61",
            "/a%20b",
            "/a b",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/a/*",
            "/a;b",
            "/é",
            "/.linkgate",
            "/.linkgate/sign-in",
            "/.Linkgate/x",
            "http://a/b",
        ] {
            assert_eq!(PublicPath::try_from(wrong.to_owned()), Err(BadPublicPath), "{wrong:?}");
        }
        for wrong in ["", "get", "Get", "TRACE", "CONNECT", "BREW", "GET ", "*"] {
            assert_eq!(PublicMethod::try_from(wrong.to_owned()), Err(BadMethod), "{wrong:?}");
        }
    }

    #[test]
    fn files_of_browsers_are_listed_one_by_one() {
        let check = |base: &str, method: Method, text: &str, expected: bool| {
            assert_eq!(is_browser_file(base, &method, &path(text)), expected, "{base:?} {method} {text}");
        };
        check("", Method::GET, "/manifest.json", true);
        check("", Method::HEAD, "/favicon.ico", true);
        check("", Method::GET, "/.well-known/security.txt", true);
        check("/wiki", Method::GET, "/wiki/site.webmanifest", true);
        check("/wiki", Method::GET, "/favicon.ico", false);
        check("", Method::POST, "/manifest.json", false);
        check("", Method::OPTIONS, "/manifest.json", false);
        check("", Method::GET, "/sub/manifest.json", false);
        check("", Method::GET, "/manifest.json/x", false);
        check("", Method::GET, "/manifest.json/", false);
        check("", Method::GET, "/Manifest.json", false);
        check("", Method::GET, "/manifest.json;x", false);
        check("", Method::GET, "/.well-known", false);
        check("", Method::GET, "/.well-known/", false);
        check("", Method::GET, "/.well-known/users.json", false);
        check("", Method::GET, "/", false);
    }
}
