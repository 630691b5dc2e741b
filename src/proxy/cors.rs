//! Which pages of other sites may read a route's answers (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use url::Url;

use super::route::{FieldName, RouteMethod};
use crate::setting::Span;

/// `[route.cors]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The sites: origins like `https://app.example.com`, or `*` for every one.
    pub origins: Vec<CorsOrigin>,
    /// The methods that their pages may use.
    pub methods: Vec<RouteMethod>,
    /// The header fields that they may send beyond the ones that every page may.
    pub headers: Vec<FieldName>,
    /// The header fields of answers that they may read beyond the ones that every page may.
    pub expose: Vec<FieldName>,
    /// Whether their requests may carry the visitor's cookies.
    pub credentials: bool,
    /// How long browsers may remember this.
    pub max_age: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: ["GET", "HEAD", "POST"].map(str::to_owned).into_iter().flat_map(RouteMethod::try_from).collect(),
            headers: ["Authorization", "Content-Type"]
                .map(str::to_owned)
                .into_iter()
                .flat_map(FieldName::try_from)
                .collect(),
            expose: Vec::new(),
            credentials: false,
            max_age: Span::minutes(10),
        }
    }
}

/// A site whose pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CorsOrigin {
    /// Every one.
    Any,
    /// This one, as browsers write it.
    Exact(String),
}

impl TryFrom<String> for CorsOrigin {
    type Error = BadCorsOrigin;

    fn try_from(text: String) -> Result<Self, BadCorsOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let url = Url::parse(&text).map_err(|_| BadCorsOrigin)?;
        let origin = url.origin().ascii_serialization();
        let is_origin = matches!(url.scheme(), "http" | "https")
            && !text.contains('*')
            && (text == origin || text == format!("{origin}/"));
        if is_origin { Ok(Self::Exact(origin)) } else { Err(BadCorsOrigin) }
    }
}

impl From<CorsOrigin> for String {
    fn from(origin: CorsOrigin) -> Self {
        match origin {
            CorsOrigin::Any => "*".to_owned(),
            CorsOrigin::Exact(origin) => origin,
        }
    }
}

/// A text that names no site as browsers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin as browsers send it, like \"https://app.example.com\", or \"*\"")]
pub struct BadCorsOrigin;

/// What a route says to pages of other sites.
#[derive(Debug)]
pub struct Cors {
    origins: Vec<CorsOrigin>,
    methods: Vec<Method>,
    headers: Vec<String>,
    allowed_methods: HeaderValue,
    allowed_headers: HeaderValue,
    exposed: Option<HeaderValue>,
    credentials: bool,
    max_age: Duration,
}

/// Fields of the protocol, which only the gateway sends on such a route.
const FAMILY: &str = "access-control-";
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY: HeaderValue = HeaderValue::from_static("Origin");
const VARY_OF_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

impl Cors {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        let names = |fields: &[FieldName]| fields.iter().map(|field| field.as_str().to_owned()).collect::<Vec<_>>();
        let methods: Vec<Method> = config.methods.iter().map(|method| method.0.clone()).collect();
        let listed =
            |names: Vec<String>| HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""));
        Self {
            origins: config.origins.clone(),
            allowed_methods: listed(methods.iter().map(ToString::to_string).collect()),
            methods,
            headers: names(&config.headers),
            allowed_headers: listed(names(&config.headers)),
            exposed: Some(names(&config.expose)).filter(|names| !names.is_empty()).map(listed),
            credentials: config.credentials,
            max_age: config.max_age.0,
        }
    }

    /// What is said to the site that `asked` names in `Origin`.
    fn allowed(&self, asked: &HeaderMap) -> Option<HeaderValue> {
        let mut fields = asked.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (fields.next(), fields.next()) else { return None };
        let names = |site: &&CorsOrigin| match site {
            CorsOrigin::Any => true,
            CorsOrigin::Exact(site) => origin == site.as_str(),
        };
        Some(match self.origins.iter().find(names)? {
            CorsOrigin::Any => HeaderValue::from_static("*"),
            CorsOrigin::Exact(_) => origin.clone(),
        })
    }

    /// The header of the answer to a preflight; `None` where its page may not do what it asks for.
    pub(super) fn preflight(&self, asked: &HeaderMap) -> Option<http::response::Builder> {
        let origin = self.allowed(asked)?;
        let wants = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let fields = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().map(HeaderValue::to_str);
        let fields = fields.collect::<Result<Vec<_>, _>>().ok()?;
        let names = fields.iter().flat_map(|field| field.split(',')).map(str::trim).filter(|name| !name.is_empty());
        let may_send = |name: &str| self.headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        if !self.methods.iter().any(|method| wants == method.as_str()) || !names.clone().all(may_send) {
            return None;
        }
        let mut answer = http::Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, &self.allowed_methods)
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.allowed_headers)
            .header(header::ACCESS_CONTROL_MAX_AGE, self.max_age.as_secs())
            .header(header::VARY, VARY_OF_PREFLIGHT);
        if self.credentials {
            answer = answer.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        Some(answer)
    }

    /// What an answer says of the protocol in place of what is there: names to take out, and fields to add.
    pub(super) fn answer(
        &self,
        asked: &HeaderMap,
        said: &HeaderMap,
    ) -> (Vec<HeaderName>, Vec<(HeaderName, HeaderValue)>) {
        let theirs = said.keys().filter(|name| name.as_str().starts_with(FAMILY)).cloned().collect();
        let mut ours = vec![(header::VARY, VARY)];
        if let Some(origin) = self.allowed(asked) {
            ours.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin));
            ours.extend(self.credentials.then_some((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE)));
            ours.extend(self.exposed.clone().map(|names| (header::ACCESS_CONTROL_EXPOSE_HEADERS, names)));
        }
        (theirs, ours)
    }
}

/// The method that a preflight asks about.
pub(super) fn preflight_method(method: &Method, asked: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !asked.contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(asked.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        let check = |text: &str, expected: Option<&str>| {
            let read = CorsOrigin::try_from(text.to_owned()).ok().map(String::from);
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("*", Some("*"));
        check("https://app.example.com", Some("https://app.example.com"));
        check("https://app.example.com/", Some("https://app.example.com"));
        check("http://localhost:3000", Some("http://localhost:3000"));
        check("https://app.example.com:443", None);
        check("https://app.example.com/path", None);
        check("https://*.example.com", None);
        check("app.example.com", None);
        check("null", None);
        check("file:///x", None);
    }
}
