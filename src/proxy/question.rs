//! What another proxy asks about a request that it forwards itself: the request is put together from what that proxy
//! says of it, and decided about like one of the gateway's own.
//!
//! nginx, Traefik, Caddy and others say it in header fields; Envoy's `ext_authz` repeats the request itself below a
//! path. How each of them is set up is in `docs/front-proxies.md`.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::RequestHeader;

use super::canonical;
use super::headers::Managed;
use crate::origin::Origin;
use crate::portal::answer::Refusal;

/// Where other proxies ask.
const PATH: &str = "/.linkgate/auth";
/// Where they ask oauth2-proxy.
const OAUTH2_PROXY_PATH: &str = "/oauth2/auth";
/// The cookies that the upstream may have, for the asking proxy to send in place of all of them.
const COOKIE: HeaderName = HeaderName::from_static("x-linkgate-cookie");

/// A question about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question<'a> {
    said: Said<'a>,
    manner: Manner,
}

/// Where it is said what the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said<'a> {
    /// In fields like `X-Forwarded-Uri`.
    InFields,
    /// In the question itself, which has the method and the host of the request, and its target below the path.
    Below(&'a str),
}

/// What the asking proxy makes of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It gives the visitor whatever is no success.
    Whole,
    /// It knows 200, 401 and 403 only (nginx's `auth_request`).
    Verdict,
    /// The same with the 202 of oauth2-proxy.
    OfOauth2Proxy,
}

impl<'a> Question<'a> {
    /// Reads the target of a request: `None` for one that asks nothing.
    pub(super) fn read(target: &'a str, oauth2_proxy_paths: bool) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == PATH {
            let manner = if query == "verdict=1" { Manner::Verdict } else { Manner::Whole };
            return Some(Self { said: Said::InFields, manner });
        }
        if path == OAUTH2_PROXY_PATH && oauth2_proxy_paths {
            return Some(Self { said: Said::InFields, manner: Manner::OfOauth2Proxy });
        }
        let below = target.strip_prefix(PATH).filter(|rest| rest.starts_with('/'))?;
        Some(Self { said: Said::Below(below), manner: Manner::Whole })
    }

    /// The request that is asked about.
    ///
    /// # Errors
    /// When it is not said what it is, or has two readings.
    pub(super) fn request(&self, asking: &RequestHeader) -> Result<RequestHeader, Refusal> {
        let fields = &asking.headers;
        let url = one(fields, "x-original-url")?.and_then(split_url);
        let (method, host, target) = match self.said {
            Said::Below(target) => (asking.method.clone(), None, Some(target.as_bytes())),
            Said::InFields => {
                let method = one(fields, "x-forwarded-method")?.or(one(fields, "x-original-method")?);
                let method = Method::from_bytes(method.unwrap_or("GET").as_bytes());
                let target = one_field(fields, "x-forwarded-uri")?.or(one_field(fields, "x-original-uri")?);
                let target = target.map(HeaderValue::as_bytes);
                let host = one(fields, "x-forwarded-host")?.or(url.map(|(host, _)| host));
                (method.map_err(|_| Refusal::BadRequest)?, host, target.or(url.map(|(_, target)| target.as_bytes())))
            }
        };
        // oauth2-proxy looks at the visitor alone.
        let fallback = (self.manner == Manner::OfOauth2Proxy).then_some(&b"/"[..]);
        let target = target.or(fallback).ok_or(Refusal::NothingAsked)?;
        let host = match host {
            Some(host) => host.to_owned(),
            None => canonical::host(asking.version, &asking.uri, fields).map_err(|_| Refusal::BadRequest)?.to_string(),
        };
        let mut request = RequestHeader::build(method, target, Some(fields.len())).map_err(|_| Refusal::BadRequest)?;
        for (name, value) in fields.iter().filter(|(name, value)| is_visitors(name, value)) {
            request.append_header(name.clone(), value.clone()).map_err(|_| Refusal::BadRequest)?;
        }
        let mut said = vec![(header::HOST, HeaderValue::try_from(host).map_err(|_| Refusal::BadRequest)?)];
        // The fields that make a handshake of it are for one connection only, so the asking proxy kept them.
        if fields.contains_key(header::SEC_WEBSOCKET_KEY) {
            said.push((header::CONNECTION, HeaderValue::from_static("Upgrade")));
            said.push((header::UPGRADE, HeaderValue::from_static("websocket")));
        }
        for (name, value) in said {
            request.insert_header(name, value).map_err(|_| Refusal::BadRequest)?;
        }
        Ok(request)
    }

    /// The answer that lets the request pass. `request` is as an upstream of the gateway's own would get it.
    pub(super) fn allow(&self, request: &RequestHeader, managed: &Managed) -> http::Response<Body> {
        let status = if self.manner == Manner::OfOauth2Proxy { StatusCode::ACCEPTED } else { StatusCode::OK };
        let mut answer = status.into_response();
        let told = request.headers.iter().filter(|(name, _)| managed.manages(name.as_str()) && !is_provenance(name));
        answer.headers_mut().extend(told.map(|(name, value)| (Some(name.clone()), value.clone())).collect::<Fields>());
        if let Some(cookies) = request.headers.get(header::COOKIE) {
            answer.headers_mut().insert(COOKIE, cookies.clone());
            // For Traefik, which can give a field no other name.
            answer.headers_mut().insert(header::COOKIE, cookies.clone());
        }
        answer
    }

    /// A refusal as the asking proxy can take it, which is never a success. Addresses in it are whole, because they are read as if they came from
    /// the gateway's own.
    pub(super) fn refuse(&self, mut answer: http::Response<Body>, origin: &Origin) -> http::Response<Body> {
        // A refusal of gRPC is a success by its status, as is an answer to a preflight, and a success is leave here.
        if answer.status().is_success() {
            let is_nobody = answer.headers().get("grpc-status").is_some_and(|status| status == "16");
            *answer.status_mut() = if is_nobody { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        }
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        if let Some(path) = location.filter(|location| location.starts_with('/'))
            && let Ok(whole) = HeaderValue::try_from(origin.join(path))
        {
            answer.headers_mut().insert(header::LOCATION, whole);
        }
        if self.manner == Manner::Whole {
            return answer;
        }
        let must_sign_in = answer.status() == StatusCode::UNAUTHORIZED || answer.status().is_redirection();
        let (mut parts, _) = answer.into_parts();
        parts.status = if must_sign_in { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        http::Response::from_parts(parts, Body::empty())
    }
}

type Fields = Vec<(Option<HeaderName>, HeaderValue)>;

/// The one value of a field, where it says something; a second one is another reading.
fn one_field<'h>(fields: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, Refusal> {
    let mut values = fields.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { Err(Refusal::BadRequest) } else { Ok(value.filter(|value| !value.is_empty())) }
}

/// The same as text.
fn one<'h>(fields: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    one_field(fields, name)?.map(HeaderValue::to_str).transpose().map_err(|_| Refusal::BadRequest)
}

/// Host and target of a URL, as they are written.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"))?;
    let start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(start);
    Some((host, if target.is_empty() { "/" } else { target }))
}

/// Whether a field of the question is the visitor's: not one of the connection, nor one that says what is asked.
fn is_visitors(name: &HeaderName, value: &HeaderValue) -> bool {
    const OTHERS: [&str; 9] = [
        "host",
        "connection",
        "upgrade",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "proxy-connection",
        "x-real-ip",
    ];
    // A handshake has no length (RFC 6455), and a question without a body may say that it has none.
    if *name == header::CONTENT_LENGTH && value == "0" {
        return false;
    }
    let name = name.as_str();
    !OTHERS.contains(&name) && !name.starts_with("x-forwarded-") && !name.starts_with("x-original-")
}

/// What the asking proxy knows better, because the visitor is connected to it.
fn is_provenance(name: &HeaderName) -> bool {
    const NAMES: [&str; 5] =
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-client-cert"];
    NAMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(method: &str, target: &str, fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    /// Method, host and target of what `asking` is about.
    fn asked(asking: &RequestHeader) -> Result<String, Refusal> {
        let target = std::str::from_utf8(asking.raw_path()).unwrap();
        let request = Question::read(target, true).unwrap().request(asking)?;
        let host = request.headers.get("host").unwrap().to_str().unwrap();
        Ok(format!("{} {host} {}", request.method, std::str::from_utf8(request.raw_path()).unwrap()))
    }

    #[test]
    fn each_proxy_says_what_it_asks_about() {
        let check = |method, target, fields: &[(&'static str, &'static str)], expected: &str| {
            assert_eq!(asked(&asking(method, target, fields)).as_deref(), Ok(expected), "{target} {fields:?}");
        };
        let traefik = [
            ("host", "127.0.0.1:8080"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-uri", "/a/../b?c=%2f"),
        ];
        check("GET", "/.linkgate/auth", &traefik, "POST app.example.com /a/../b?c=%2f");
        check("GET", "/.linkgate/auth?verdict=1", &traefik, "POST app.example.com /a/../b?c=%2f");
        let ingress =
            [("host", "linkgate"), ("x-original-url", "https://app.example.com/x?y"), ("x-original-method", "PUT")];
        check("GET", "/.linkgate/auth", &ingress, "PUT app.example.com /x?y");
        let raw = [("host", "a.test"), ("x-forwarded-uri", "/caf\u{e9}")];
        check("GET", "/.linkgate/auth", &raw, "GET a.test /caf\u{e9}");
        check("GET", "/oauth2/auth", &[("host", "app.example.com")], "GET app.example.com /");
        check("GET", "/oauth2/auth", &[("host", "a.test"), ("x-forwarded-uri", "/x")], "GET a.test /x");
        check("DELETE", "/.linkgate/auth/x/y?z", &[("host", "app.example.com")], "DELETE app.example.com /x/y?z");
        check(
            "GET",
            "/.linkgate/auth/",
            &[("host", "app.example.com"), ("x-forwarded-uri", "/other")],
            "GET app.example.com /",
        );
    }

    #[test]
    fn what_has_two_readings_or_none_is_refused() {
        let check = |fields: &[(&'static str, &'static str)], expected| {
            assert_eq!(asked(&asking("GET", "/.linkgate/auth", fields)), Err(expected), "{fields:?}");
        };
        check(&[("host", "a.test")], Refusal::NothingAsked);
        check(&[("host", "a.test"), ("x-forwarded-uri", "")], Refusal::NothingAsked);
        check(&[("host", "a.test"), ("x-forwarded-uri", "/a"), ("x-forwarded-uri", "/b")], Refusal::BadRequest);
        check(&[("host", "a.test"), ("x-forwarded-uri", "/a"), ("x-forwarded-method", "G T")], Refusal::BadRequest);
        check(
            &[("x-forwarded-host", "a.test"), ("x-forwarded-host", "b.test"), ("x-forwarded-uri", "/")],
            Refusal::BadRequest,
        );
        check(&[("x-forwarded-uri", "/")], Refusal::BadRequest);
    }

    #[test]
    fn only_its_own_paths_ask() {
        for target in
            ["/.linkgate/authx", "/.linkgate/session", "/.LINKGATE/auth", "/oauth2/authx", "/x/.linkgate/auth"]
        {
            assert_eq!(Question::read(target, true), None, "{target}");
        }
        assert_eq!(Question::read("/oauth2/auth", false), None);
    }

    #[test]
    fn the_asking_proxys_own_fields_are_not_the_visitors() {
        let fields = [
            ("host", "a.test"),
            ("x-forwarded-uri", "/"),
            ("connection", "keep-alive"),
            ("x-forwarded-for", "192.0.2.1"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let asking = asking("GET", "/.linkgate/auth", &fields);
        let request = Question::read("/.linkgate/auth", false).unwrap().request(&asking).unwrap();
        let mut found: Vec<String> =
            request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        found.sort();
        let expected = [
            "connection: Upgrade",
            "cookie: a=1",
            "cookie: b=2",
            "host: a.test",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
            "upgrade: websocket",
        ];
        assert_eq!(found, expected);
    }
}
