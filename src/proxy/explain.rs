//! A request explained: the gateway's own decision about it, and what the upstream would get. Nobody is asked and nothing
//! is sent.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::authority::validate_request_authority;
use serde::Serialize;

use super::access::{Access, Objection, Opening, Pass, Reason, Who};
use super::canonical::{self, Malformed};
use super::decision::{ALLOWED, Asked, Decision, Target};
use super::handshake::is_websocket;
use super::route::Route;
use super::terms::Source;
use super::{Terms, headers};
use crate::clock::Timestamp;
use crate::credential::Visitor;
use crate::grant::Grant;

/// A request that nobody has sent.
#[derive(Clone)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// Host and port, as `Host` would say them.
    pub authority: String,
    /// Path and query, byte for byte as they would be sent.
    pub target: String,
    /// Further header fields; a `Host` among them stands in place of `authority`.
    pub headers: HeaderMap,
    /// Whom the connection would be from.
    pub peer: IpAddr,
    /// Who would be signed in.
    pub visitor: Option<Visitor>,
    /// What is granted to them.
    pub grant: Option<Arc<Grant>>,
    /// When it would be.
    pub now: Timestamp,
}

/// What would become of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The visitor's address, as rules and the upstream see it.
    pub client: IpAddr,
    /// Host and port, where they are ours.
    pub host: Option<String>,
    /// The path in its one spelling, where it has one.
    pub path: Option<String>,
    /// The query.
    pub query: Option<String>,
    /// What the visitor is known by, where somebody is signed in.
    pub visitor: Option<String>,
    /// Whether the visitor could not sign in, so that nobody is.
    pub is_refused_at_sign_in: bool,
    /// The route.
    pub route: Option<Routed>,
    /// The word of the log and the metrics: `forwarded`, or why not.
    pub verdict: &'static str,
    /// The status of a refusal, as a program gets it; nothing where upstream or portal answer.
    pub status: Option<u16>,
    /// What the rules have against the visitor.
    pub reason: Option<Reason>,
    /// Whether they only observe, so that the request passes all the same.
    pub is_observed: bool,
    /// The rule that decided.
    pub rule: Option<Cited>,
    /// The grant that lets the visitor pass whom the rules would keep out.
    pub grant: Option<Granted>,
    /// What goes to the upstream.
    pub forwarded: Option<Forwarded>,
}

/// The route of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Routed {
    /// Host and path, as logs name it.
    pub name: String,
    /// Where it is in gateway.toml.
    pub place: Cited,
    /// Whom it asks to sign in for this request.
    pub access: Access,
    /// The setting that opens this path to everybody, where the route itself does not.
    pub opened_by: Option<Cited>,
}

/// What was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// Who gave it.
    pub given_by: String,
    /// When.
    pub given_at: String,
    /// When it ends: a time, or `never`.
    pub expires_at: String,
}

impl Granted {
    fn of(grant: &Grant) -> Self {
        let Grant { given_by, given_at, expires_at, .. } = grant;
        Self { given_by: given_by.to_string(), given_at: given_at.to_string(), expires_at: expires_at.to_string() }
    }
}

/// A part of gateway.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cited {
    /// Its dotted name, like `route[1].allow[0]`.
    pub key: String,
    /// The line on which it begins.
    pub line: Option<usize>,
    /// What it says.
    pub text: Option<String>,
}

impl Cited {
    const fn new(key: String) -> Self {
        Self { key, line: None, text: None }
    }
}

/// A request as the upstream would get it.
#[derive(Clone, Debug, Serialize)]
pub struct Forwarded {
    /// The servers, one of which gets it.
    pub servers: Vec<String>,
    /// Path and query.
    pub target: String,
    /// The header fields, with secrets masked.
    pub headers: Vec<(String, String)>,
}

impl Explanation {
    fn new(client: IpAddr) -> Self {
        Self {
            client,
            host: None,
            path: None,
            query: None,
            visitor: None,
            is_refused_at_sign_in: false,
            route: None,
            verdict: "forwarded",
            status: None,
            reason: None,
            is_observed: false,
            rule: None,
            grant: None,
            forwarded: None,
        }
    }

    /// Every part of gateway.toml that it speaks of.
    pub fn cited(&mut self) -> impl Iterator<Item = &mut Cited> {
        let route = self.route.iter_mut().flat_map(|route| [Some(&mut route.place), route.opened_by.as_mut()]);
        route.flatten().chain(self.rule.as_mut())
    }

    fn is_for(&mut self, target: &Target) {
        self.host = Some(target.authority.to_string());
        self.path = Some(target.path.as_str().to_owned());
        self.query = target.path_and_query.split_once('?').map(|(_, query)| query.to_owned());
    }

    fn is_on(&mut self, route: &Route, method: &Method, target: &Target) {
        let opened_by = route.policy.opening(method, &target.path).map(|opening| match opening {
            Opening::Rule(at) => format!("{}.public[{at}]", route.key()),
            Opening::BrowserFiles => format!("{}.public_browser_files", route.key()),
        });
        self.route = Some(Routed {
            name: route.name.clone(),
            place: Cited::new(route.key()),
            access: route.policy.access_to(method, &target.path),
            opened_by: opened_by.map(Cited::new),
        });
    }

    fn is_objected_to(&mut self, route: &Route, Objection { reason, rule }: Objection) {
        self.reason = Some(reason);
        let list = format!("{}.{}", route.key(), if reason == Reason::Denied { "deny" } else { "allow" });
        // Where no rule comes near, it is all of them together that keep the visitor out.
        self.rule = Some(Cited::new(rule.map_or_else(|| list.clone(), |at| format!("{list}[{at}]"))));
    }

    fn is_refused(&mut self, decision: &Decision) {
        self.verdict = decision.verdict();
        self.status = decision.status().map(|status| status.as_u16());
        if let Some(objected) = decision.objected() {
            self.is_objected_to(objected.of_route(), objected.objection());
        }
    }

    fn passes(&mut self, pass: &Pass, asked: Asked<'_>) {
        let route = pass.route();
        if route.is_forwarded_elsewhere {
            self.verdict = ALLOWED;
        }
        if let Some(objection) = pass.observed() {
            self.is_observed = true;
            return self.is_objected_to(route, objection);
        }
        self.grant = pass.granted().map(|grant| Granted::of(grant));
        let who = pass.visitor().map(Who::of);
        let allowing = who.and_then(|who| route.policy.allowing(asked.client, who, asked.now));
        self.rule = allowing.map(|at| Cited::new(format!("{}.allow[{at}]", route.key())));
    }
}

impl Terms {
    /// What would become of a request.
    pub fn explain(&self, question: &Question) -> Explanation {
        let peer = SocketAddr::from((question.peer, 0));
        let client = canonical::client_address(peer, &question.headers, &self.trusted_proxies);
        let mut explanation = Explanation::new(client);
        if let Err(decision) = self.explain_to(&mut explanation, question) {
            explanation.is_refused(&decision);
        }
        explanation
    }

    fn explain_to(&self, explanation: &mut Explanation, question: &Question) -> Result<(), Decision> {
        let request = question.request()?;
        let asked = Asked { request: &request, client: explanation.client, now: question.now, streams: None };
        let target = self.read(&request)?;
        explanation.is_for(&target);
        let route = self.route(&request, &target)?;
        explanation.is_on(&route, &request.method, &target);
        let visitor = question.visitor.clone();
        explanation.visitor = visitor.as_ref().map(|visitor| visitor.identity().shown_name());
        let pass = self.judge(&route, asked, &target, visitor, question.grant.clone())?;
        explanation.passes(&pass, asked);
        explanation.forwarded = self.forwarded(&pass, asked, &target, self.trusts(question.peer));
        Ok(())
    }

    /// The request as it would go out; nothing where it could not be written.
    fn forwarded(&self, pass: &Pass, asked: Asked<'_>, target: &Target, is_trusted: bool) -> Option<Forwarded> {
        let mut request = asked.request.clone();
        remove_hops(&mut request);
        let upstream = &pass.route().upstream;
        let request_id = headers::request_id(&asked.request.headers, is_trusted);
        let is_given = asked.request.headers.get("x-request-id") == Some(&request_id);
        // Its value is hidden below, as that of every assertion.
        let assertion = (self.assertion_header.clone(), HeaderValue::from_static("signed"));
        let source = Source {
            assertion: Some(&assertion).filter(|_| pass.wants_assertion()),
            client: asked.client,
            server: upstream.authorities().next(),
            request_id: if is_given { &request_id } else { &FRESH },
            certificate: None,
        };
        request.set_raw_path(pass.route().rewrite.apply(&target.path_and_query).as_bytes()).ok()?;
        self.write_headers(&mut request, pass, target, &source).ok()?;
        let shown = request.headers.iter().map(|(name, value)| (name.to_string(), shown(name, value).into_owned()));
        Some(Forwarded {
            servers: upstream.servers().map(ToString::to_string).collect(),
            target: String::from_utf8_lossy(request.raw_path()).into_owned(),
            headers: shown.collect(),
        })
    }
}

/// The authority, and path and query, of an address as it was typed; nothing where it is none of the web. Nothing is
/// repaired, and what a browser keeps to itself, from `#` on, is left out.
pub fn split(url: &str) -> Option<(&str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let sent = rest.split('#').next().unwrap_or_default();
    let end = sent.find(['/', '?', '\\']).unwrap_or(sent.len());
    let (authority, target) = sent.split_at(end);
    if !is_web || authority.is_empty() {
        return None;
    }
    let slash = if target.starts_with(['/', '\\']) { "" } else { "/" };
    Some((authority, format!("{slash}{target}")))
}

static FRESH: HeaderValue = HeaderValue::from_static("(a new one for each request)");

impl Question {
    /// The request, as the framework would read it.
    fn request(&self) -> Result<RequestHeader, Malformed> {
        // No request line can have these (RFC 9112 section 3.2).
        if self.target.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()) {
            return Err(Malformed::Path);
        }
        let built = RequestHeader::build(self.method.clone(), self.target.as_bytes(), None);
        let mut request = built.map_err(|_| Malformed::Path)?;
        if !self.headers.contains_key(header::HOST) {
            request.insert_header(header::HOST, self.authority.as_str()).map_err(|_| Malformed::Host)?;
        }
        for (name, value) in &self.headers {
            request.append_header(name.clone(), value.clone()).map_err(|_| Malformed::Field)?;
        }
        // The framework refuses these before the gateway hears of them.
        validate_request_authority(&request).map_err(|_| Malformed::Host)?;
        canonical::body_length(request.version, &request.headers)?;
        Ok(request)
    }
}

/// What is only for the next hop (RFC 9110 section 7.6.1), which the framework takes out before the gateway writes.
const HOPS: [HeaderName; 8] = [
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

fn remove_hops(request: &mut RequestHeader) {
    let fields = request.headers.get_all(header::CONNECTION).iter().filter_map(|field| field.to_str().ok());
    let named = fields.flat_map(|field| field.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    let named: Vec<HeaderName> = named.filter(|name| *name != header::UPGRADE).collect();
    for name in named.iter().chain(&HOPS) {
        request.remove_header(name);
    }
    if !is_websocket(&request.headers) {
        request.remove_header(&header::CONNECTION);
        request.remove_header(&header::UPGRADE);
    }
}

/// The value of a field as it may be seen.
fn shown<'v>(name: &HeaderName, value: &'v HeaderValue) -> Cow<'v, str> {
    if name.as_str().contains("assertion") {
        return Cow::Borrowed("(signed assertion)");
    }
    if headers::may_be_secret(name.as_str()) {
        return Cow::Borrowed("(not shown)");
    }
    String::from_utf8_lossy(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_and_left_as_it_is() {
        let check = |url, authority, target: &str| {
            assert_eq!(split(url), Some((authority, target.to_owned())), "{url}");
        };
        check("http://localhost:8080", "localhost:8080", "/");
        check("HTTPS://a.example?x", "a.example", "/?x");
        check("https://a.example/a/../b//%2e%2E/c\\d?x=/..", "a.example", "/a/../b//%2e%2E/c\\d?x=/..");
        check("https://a.example/a#b?c", "a.example", "/a");
        check("https://a.example\\b", "a.example", "\\b");
        check("https://[::1]:8443/é", "[::1]:8443", "/é");
        for wrong in ["", "/reports", "localhost:8080/x", "ftp://a.example/", "http:///x", "https://#x"] {
            assert!(split(wrong).is_none(), "{wrong}");
        }
    }
}
