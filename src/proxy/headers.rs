//! What the upstream receives beside the visitor's own words: identity, where the request came from, and none
//! of the gateway's cookies. Managed names are ours on every request, public routes included.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType};

use super::access::Pass;
use super::tls::ClientCertificate;
use crate::credential::authorization;
use crate::identity::headers::{Attribute, Plan, Preset};
use crate::session::cookie;

/// Names that only the gateway may write, with `-` and every sign that a server could take for it made the same.
pub struct Managed {
    folded: HashSet<String>,
}

/// Fields beyond the identity headers that are the gateway's, or would let a visitor rewrite a request that was
/// already decided about (`X-Original-URL`, `X-Rewrite-URL`), or a program's environment (`Proxy`, "httpoxy").
const ALWAYS: [&str; 6] = ["forwarded", "x-real-ip", "x-request-id", "x-original-url", "x-rewrite-url", "proxy"];
/// Families of names that are the gateway's.
const FAMILIES: [&str; 5] = ["x-forwarded-", "x-linkgate-", "x-auth-request-", "cf-access-", "x-pomerium-"];

impl Managed {
    /// The names of a plan, of every preset, and of what the gateway says about the connection.
    pub fn new(plan: &Plan) -> Self {
        let names = |preset: Preset| Attribute::ALL.into_iter().filter_map(move |attribute| preset.name(attribute));
        let presets = Preset::ALL.into_iter().flat_map(names).map(fold);
        let own = plan.names().map(|name| fold(name.as_str()));
        let always = ALWAYS.into_iter().map(str::to_owned);
        Self { folded: presets.chain(own).chain(always).collect() }
    }

    /// Whether a field is the gateway's own, in any spelling.
    pub fn manages(&self, name: &str) -> bool {
        let name = fold(name);
        FAMILIES.iter().any(|family| name.starts_with(family)) || self.folded.contains(&name)
    }

    /// Whether a visitor's field is dropped: a managed name in any spelling, or any name with an underscore, which
    /// CGI and WSGI cannot tell from a hyphen.
    fn drops(&self, name: &str) -> bool {
        if name.contains('_') {
            return true;
        }
        let plain = name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric());
        let name = if plain { Cow::Borrowed(name) } else { Cow::Owned(fold(name)) };
        FAMILIES.iter().any(|family| name.starts_with(family)) || self.folded.contains(&*name)
    }
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(|sign: char| !sign.is_ascii_alphanumeric(), "-")
}

/// Where a request came from, as the gateway vouches for it.
pub struct Provenance<'a> {
    /// The visitor's address.
    pub client: IpAddr,
    /// `http` or `https`, from configuration.
    pub scheme: &'static str,
    /// Host and port, a configured one.
    pub authority: &'a str,
    /// What `Host` says in its place, where the route wants that.
    pub host: Option<&'a HeaderValue>,
    /// The name of the request in every log.
    pub request_id: &'a HeaderValue,
    /// What the visitor showed in TLS.
    pub certificate: Option<&'a ClientCertificate>,
    /// The signed assertion, and the name that it goes out under.
    pub assertion: Option<&'a (HeaderName, HeaderValue)>,
}

/// Rewrites the request for the upstream. Runs last, after the framework removed what `Connection` names.
pub fn write(
    request: &mut RequestHeader,
    managed: &Managed,
    pass: &Pass,
    provenance: &Provenance<'_>,
) -> pingora::Result<()> {
    let dropped: Vec<HeaderName> =
        request.headers.keys().filter(|name| managed.drops(name.as_str())).cloned().collect();
    for name in dropped {
        request.remove_header(&name);
    }
    let route = pass.route();
    // Where tokens are taken they are the gateway's, also on paths where nobody is asked for one.
    if route.bearer && authorization::is_shown(&request.headers) {
        request.remove_header(&AUTHORIZATION);
    }
    // Before ours, so that none of ours can be changed.
    route.request_headers.apply_to_request(request)?;
    match cookie::without_own(&request.headers) {
        Some(cookies) => request.insert_header(COOKIE, cookies)?,
        None => drop(request.remove_header(&COOKIE)),
    }
    for (name, value) in pass.visitor().map_or(&[][..], |visitor| visitor.headers()) {
        request.insert_header(name.clone(), value.clone())?;
    }
    match provenance.host {
        Some(host) => request.insert_header(HOST, host.clone())?,
        None => request.insert_header(HOST, provenance.authority)?,
    }
    if !route.rewrite.stripped().is_empty() {
        request.insert_header("X-Forwarded-Prefix", route.rewrite.stripped())?;
    }
    request.insert_header("X-Forwarded-For", provenance.client.to_string())?;
    request.insert_header("X-Forwarded-Proto", provenance.scheme)?;
    request.insert_header("X-Forwarded-Host", provenance.authority)?;
    if let Some(ClientCertificate { fingerprint, subject }) = provenance.certificate {
        // As Envoy writes it; a quote in the subject stays within its quotes.
        let subject = subject.replace('\\', "\\\\").replace('"', "\\\"");
        let shown = format!("Hash={fingerprint};Subject=\"{subject}\"");
        let shown: String =
            shown.chars().map(|sign| if sign.is_ascii_graphic() || sign == ' ' { sign } else { '?' }).collect();
        request.insert_header("X-Forwarded-Client-Cert", shown)?;
    }
    match provenance.assertion {
        Some((name, value)) => request.insert_header(name.clone(), value.clone())?,
        None if pass.wants_assertion() => {
            return Error::e_explain(
                ErrorType::InternalError,
                "a request without the assertion that its route asks for",
            );
        }
        None => {}
    }
    request.insert_header("X-Request-Id", provenance.request_id.clone())
}

/// Whether the value of a field is better not shown to anybody, by what the field is called.
pub fn may_be_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["authorization", "cookie", "credential", "key", "password", "secret", "token"];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Takes the gateway's cookie names out of what the upstream sets.
pub fn drop_own_cookies(response: &mut ResponseHeader) -> pingora::Result<()> {
    if !response.headers.get_all(SET_COOKIE).iter().any(|field| cookie::is_own(field.as_bytes())) {
        return Ok(());
    }
    let others: Vec<HeaderValue> = response
        .headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|field| !cookie::is_own(field.as_bytes()))
        .cloned()
        .collect();
    response.remove_header(&SET_COOKIE);
    for field in others {
        response.append_header(SET_COOKIE, field)?;
    }
    Ok(())
}

/// Keeps shared caches from answers that were made for one visitor (RFC 9111 section 5.2.2.7), also those that
/// listen to a field of their own before `Cache-Control` (RFC 9213).
pub fn make_private(response: &mut ResponseHeader) -> pingora::Result<()> {
    use http::header::CACHE_CONTROL;
    response.remove_header("CDN-Cache-Control");
    response.remove_header("Surrogate-Control");
    let fields: Vec<&str> =
        response.headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok()).collect();
    let directives = fields.iter().flat_map(|field| field.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let shared =
        |text: &&str| !text.eq_ignore_ascii_case("public") && !text.to_ascii_lowercase().starts_with("s-maxage");
    let mut kept: Vec<&str> = directives.filter(shared).collect();
    let closed = |text: &&str| text.eq_ignore_ascii_case("private") || text.eq_ignore_ascii_case("no-store");
    if !kept.iter().any(closed) {
        kept.insert(0, "private");
    }
    let value = kept.join(", ");
    response.insert_header(CACHE_CONTROL, value)
}

/// The request ID: a trusted proxy's, where it is a plain word, or a fresh one.
pub fn request_id(headers: &HeaderMap, peer_is_trusted: bool) -> HeaderValue {
    let given = headers.get("x-request-id").filter(|_| peer_is_trusted);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match given {
        Some(id) if (8..=64).contains(&id.len()) && id.as_bytes().iter().all(plain) => id.clone(),
        _ => {
            let fresh = crate::secret::base64url(&crate::secret::random_bytes::<16>());
            HeaderValue::from_str(&fresh).expect("base64url is ASCII")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::headers::Config;

    #[test]
    fn managed_names_are_dropped_in_every_spelling() {
        let names = [(Attribute::User, "X-Person".to_owned())].into();
        let managed = Managed::new(&Plan::new(&Config { names, ..Config::default() }).unwrap());
        for name in [
            "x-forwarded-user",
            "x_forwarded_user",
            "x.forwarded.user",
            "x!forwarded~user",
            "x-forwarded-anything",
            "forwarded",
            "x-real-ip",
            "remote-user",
            "remote_user",
            "x-auth-request-email",
            "x-request-id",
            "x-linkgate-assertion",
            "cf-access-jwt-assertion",
            "cf_access_jwt_assertion",
            "x-pomerium-jwt-assertion",
            "x.pomerium.jwt.assertion",
            "x-person",
            "x_person",
            "any_underscore",
            "x-original-url",
            "proxy",
        ] {
            assert!(managed.drops(name), "{name}");
        }
        for name in ["accept", "authorization", "x-custom", "remote-control", "x-forward", "user"] {
            assert!(!managed.drops(name), "{name}");
        }
    }

    #[test]
    fn answers_become_private() {
        let check = |given: &[&'static str], expected: &str| {
            let mut response = ResponseHeader::build(200, None).unwrap();
            for value in given {
                response.append_header("Cache-Control", *value).unwrap();
            }
            make_private(&mut response).unwrap();
            let fields: Vec<_> = response.headers.get_all("cache-control").iter().collect();
            assert_eq!(fields, [expected], "{given:?}");
        };
        check(&[], "private");
        check(&["max-age=60"], "private, max-age=60");
        check(&["public, max-age=60, S-MaxAge=9"], "private, max-age=60");
        check(&["no-store"], "no-store");
        check(&["max-age=5", "private"], "max-age=5, private");
    }

    #[test]
    fn the_upstream_cannot_set_our_cookies() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for value in ["a=1", "linkgate=stolen; Path=/", "__Host-linkgate=x", "b=2"] {
            response.append_header("Set-Cookie", value).unwrap();
        }
        drop_own_cookies(&mut response).unwrap();
        let fields: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
        assert_eq!(fields, ["a=1", "b=2"]);
    }

    #[test]
    fn a_request_id_is_taken_over_from_trusted_peers_only() {
        let given = |id: &'static str, trusted| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_static(id));
            request_id(&headers, trusted)
        };
        assert_eq!(given("0123456789abcdef", true), "0123456789abcdef");
        assert_ne!(given("0123456789abcdef", false), "0123456789abcdef");
        assert_ne!(given("short", true), "short");
        assert_ne!(given("with blanks in it", true), "with blanks in it");
        assert_eq!(request_id(&HeaderMap::new(), true).len(), 22);
    }
}
