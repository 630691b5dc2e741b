//! What a route changes about requests and answers on their way: the path, the host, header fields.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::origin::Authority;

/// What becomes of a path: the route's own is taken off, another one put before it, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRewrite {
    stripped: String,
    added: String,
}

impl PathRewrite {
    /// Takes `path` off if `strip` says so, and then puts `added` before it.
    pub fn new(strip: bool, path: &str, added: &str) -> Self {
        let stripped = if strip { path } else { "" };
        Self { stripped: stripped.to_owned(), added: added.trim_end_matches('/').to_owned() }
    }

    /// What the upstream gets in place of a path of the route, with its query or without.
    pub fn apply<'a>(&self, path_and_query: &'a str) -> Cow<'a, str> {
        let rest = path_and_query.strip_prefix(&self.stripped).unwrap_or(path_and_query);
        let slash = if rest.starts_with('/') { "" } else { "/" };
        if self.added.is_empty() && slash.is_empty() {
            return Cow::Borrowed(rest);
        }
        Cow::Owned(format!("{}{slash}{rest}", self.added))
    }

    /// What is taken off, for applications that make links: empty where nothing is.
    pub fn stripped(&self) -> &str {
        &self.stripped
    }
}

/// `route.host_header`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostHeader {
    /// The host that the visitor named.
    #[default]
    Keep,
    /// The host of the server's URL.
    Upstream,
    /// This one.
    Named(HeaderValue),
}

impl TryFrom<String> for HostHeader {
    type Error = BadHostHeader;

    fn try_from(text: String) -> Result<Self, BadHostHeader> {
        match text.as_str() {
            "keep" => Ok(Self::Keep),
            "upstream" => Ok(Self::Upstream),
            name => {
                let authority = Authority::parse(name).ok_or(BadHostHeader)?;
                HeaderValue::try_from(authority.to_string()).map(Self::Named).map_err(|_| BadHostHeader)
            }
        }
    }
}

impl From<HostHeader> for String {
    fn from(host: HostHeader) -> Self {
        match host {
            HostHeader::Keep => "keep".to_owned(),
            HostHeader::Upstream => "upstream".to_owned(),
            HostHeader::Named(host) => host.to_str().unwrap_or_default().to_owned(),
        }
    }
}

/// Neither of the two words, nor a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"keep\", \"upstream\" or a host like \"app.example.com\"")]
pub struct BadHostHeader;

/// Header fields that are set, whatever was there before, and that are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldChanges {
    /// Fields with their values.
    pub set: BTreeMap<FieldName, FieldValue>,
    /// Fields that go.
    pub remove: Vec<FieldName>,
}

impl FieldChanges {
    /// Whether a field of this name is set or removed.
    pub fn concern(&self, name: &HeaderName) -> bool {
        self.remove.iter().chain(self.set.keys()).any(|field| field.name == *name)
    }

    /// Changes the fields of a request or an answer.
    pub fn apply(&self, fields: &mut HeaderMap) {
        for field in &self.remove {
            fields.remove(&field.name);
        }
        for (field, value) in &self.set {
            fields.insert(field.name.clone(), value.0.clone());
        }
    }
}

/// The name of a field, which is the same in any case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName {
    written: String,
    name: HeaderName,
}

impl FieldName {
    /// As gateway.toml has it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// In small letters.
    pub fn as_str(&self) -> &str {
        self.name.as_str()
    }
}

impl PartialEq for FieldName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for FieldName {}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl TryFrom<String> for FieldName {
    type Error = BadField;

    fn try_from(written: String) -> Result<Self, BadField> {
        let name = HeaderName::from_bytes(written.as_bytes()).map_err(|_| BadField::Name)?;
        Ok(Self { written, name })
    }
}

impl From<FieldName> for String {
    fn from(field: FieldName) -> Self {
        field.written
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldValue(HeaderValue);

impl TryFrom<String> for FieldValue {
    type Error = BadField;

    fn try_from(value: String) -> Result<Self, BadField> {
        let is_plain = value.is_ascii() && value.trim() == value;
        HeaderValue::try_from(value).ok().filter(|_| is_plain).map(Self).ok_or(BadField::Value)
    }
}

impl From<FieldValue> for String {
    fn from(value: FieldValue) -> Self {
        value.0.to_str().unwrap_or_default().to_owned()
    }
}

/// Why a field cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadField {
    /// The name.
    #[error("is not the name of a header field")]
    Name,
    /// The value.
    #[error("is not the value of a header field: expected ASCII on one line, without blanks at its ends")]
    Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_stripped_on_whole_segments_and_stays_absolute() {
        let check = |strip: bool, path: &str, added: &str, given: &str, expected: &str| {
            let rewrite = PathRewrite::new(strip, path, added);
            assert_eq!(rewrite.apply(given), expected, "{rewrite:?} {given}");
        };
        check(false, "/grafana", "", "/grafana/a?b", "/grafana/a?b");
        check(true, "/grafana", "", "/grafana", "/");
        check(true, "/grafana", "", "/grafana?b=/grafana", "/?b=/grafana");
        check(true, "/grafana", "", "/grafana/", "/");
        check(true, "/grafana", "", "/grafana/grafana/x?y", "/grafana/x?y");
        check(true, "/grafana", "/base", "/grafana", "/base/");
        check(true, "/grafana", "/base/", "/grafana/x", "/base/x");
        check(false, "", "/base", "/x?y", "/base/x?y");
        check(false, "", "/base", "/", "/base/");
    }

    #[test]
    fn a_path_that_stays_is_not_copied() {
        assert!(matches!(PathRewrite::default().apply("/a?b"), Cow::Borrowed("/a?b")));
        assert!(matches!(PathRewrite::new(true, "/a", "").apply("/a/b"), Cow::Borrowed("/b")));
    }

    #[test]
    fn the_host_is_kept_the_upstreams_or_named() {
        let check = |text: &str, expected: Option<&str>| {
            let found = HostHeader::try_from(text.to_owned()).ok().map(String::from);
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("keep", Some("keep"));
        check("upstream", Some("upstream"));
        check("App.internal:8080", Some("app.internal:8080"));
        check("a b", None);
        check("", None);
    }

    #[test]
    fn fields_have_names_and_values() {
        let check = |text: &str, expected: Result<(), &str>| {
            let found = toml::from_str::<FieldChanges>(text).map(drop).map_err(|error| error.message().to_owned());
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        };
        check("set = { X-A = 'b', x-b = '' }\nremove = ['X-C']", Ok(()));
        check("set = { 'X A' = 'b' }", Err("is not the name of a header field"));
        check("remove = ['X:']", Err("is not the name of a header field"));
        let value = "is not the value of a header field: expected ASCII on one line, without blanks at its ends";
        check("set = { X-A = \"a\\nb\" }", Err(value));
        check("set = { X-A = ' a' }", Err(value));
        check("set = { X-A = 'é' }", Err(value));
    }
}
