//! What the upstream receives beside the visitor's own words: identity, where the request came from, and none
//! of the gateway's cookies. Managed names are ours on every request, public routes included.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr as _};

use super::access::Pass;
use super::tls::ClientCertificate;
use crate::credential::{Visitor, authorization};
use crate::identity::headers::{Attribute, Plan, Preset};
use crate::session::cookie;

/// Names that only the gateway may write, with `-` and every sign that a server could take for it made the same.
pub struct Managed {
    folded: HashSet<String>,
    shapes: Shapes,
}

/// By which first letters and lengths a name can be a managed one. Most names of a request are told apart by that alone.
struct Shapes([u64; 256]);

impl Shapes {
    fn of(names: &HashSet<String>) -> Self {
        let mut shapes = [0; 256];
        for name in names {
            shapes[Self::first(name)] |= Self::length(name);
        }
        for family in FAMILIES {
            shapes[Self::first(family)] = u64::MAX;
        }
        Self(shapes)
    }

    fn have(&self, name: &str) -> bool {
        self.0[Self::first(name)] & Self::length(name) != 0
    }

    /// The first letter, folded.
    fn first(name: &str) -> usize {
        let first = name.as_bytes().first().copied().filter(u8::is_ascii_alphanumeric);
        usize::from(first.unwrap_or(b'-'))
    }

    fn length(name: &str) -> u64 {
        1 << name.len().min(63)
    }
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
        let folded = presets.chain(own).chain(always).collect();
        Self { shapes: Shapes::of(&folded), folded }
    }

    /// Whether a field is the gateway's own, in any spelling.
    pub fn manages(&self, name: &str) -> bool {
        let name = fold(name);
        FAMILIES.iter().any(|family| name.starts_with(family)) || self.folded.contains(&name)
    }

    /// Whether a visitor's field is dropped: a managed name in any spelling, or any name with an underscore, which
    /// CGI and WSGI cannot tell from a hyphen.
    fn drops(&self, name: &str) -> bool {
        let has_underscore = name.bytes().any(|byte| byte == b'_');
        // Signs that are folded leave the length as it is.
        if has_underscore || !self.shapes.have(name) {
            return has_underscore;
        }
        let is_plain = name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric());
        let folded = if is_plain { Cow::Borrowed(name) } else { Cow::Owned(fold(name)) };
        FAMILIES.iter().any(|family| folded.starts_with(family)) || self.folded.contains(&*folded)
    }
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(|sign: char| !sign.is_ascii_alphanumeric(), "-")
}

/// Where a request came from, as the gateway vouches for it.
pub struct Provenance<'a> {
    /// The visitor's address.
    pub client: IpAddr,
    /// The same as it is written, where that is at hand.
    pub client_text: Option<&'a HeaderValue>,
    /// `http` or `https`, from configuration.
    pub scheme: HeaderValue,
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
    /// The identity headers, where they are at hand.
    pub identity: Option<&'a [(HeaderName, HeaderValue)]>,
    /// The `Cookie` fields, where they came before, and what is left of them without the gateway's own.
    pub cookies: Option<(&'a [HeaderValue], Option<&'a HeaderValue>)>,
}

/// Rewrites the request for the upstream. Runs last, after the framework removed what `Connection` names.
///
/// # Errors
/// When what must be there is not, which sends nothing.
pub fn write(
    request: &mut RequestHeader,
    managed: &Managed,
    pass: &Pass,
    provenance: &Provenance<'_>,
) -> pingora::Result<()> {
    change(request, |fields| write_fields(fields, managed, pass, provenance))?
}

fn write_fields(
    fields: &mut HeaderMap,
    managed: &Managed,
    pass: &Pass,
    provenance: &Provenance<'_>,
) -> pingora::Result<()> {
    let dropped: Vec<HeaderName> = fields.keys().filter(|name| managed.drops(name.as_str())).cloned().collect();
    for name in dropped {
        fields.remove(&name);
    }
    let route = pass.route();
    // Where tokens are taken they are the gateway's, also on paths where nobody is asked for one.
    if route.bearer && authorization::is_shown(fields) {
        fields.remove(AUTHORIZATION);
    }
    // Before ours, so that none of ours can be changed.
    route.request_headers.apply(fields);
    let cookies = match provenance.cookies {
        // Unless it was taken out, or changed, on its way here.
        Some((whole, others))
            if fields.get_all(COOKIE).iter().map(HeaderValue::len).eq(whole.iter().map(HeaderValue::len))
                && !route.request_headers.concern(&COOKIE) =>
        {
            others.cloned()
        }
        _ => cookie::without_own(fields),
    };
    match cookies {
        Some(cookies) => fields.insert(COOKIE, cookies),
        None => fields.remove(COOKIE),
    };
    match provenance.identity {
        Some(identity) => {
            for (name, value) in identity {
                fields.insert(name.clone(), value.clone());
            }
        }
        None => {
            for (name, value) in pass.visitor().into_iter().flat_map(Visitor::headers) {
                fields.insert(name, value);
            }
        }
    }
    // Visitors nearly always write the one authority that it is.
    let named = fields.get(HOST).filter(|host| host.as_bytes() == provenance.authority.as_bytes()).cloned();
    let is_named = named.is_some();
    let authority = named.map_or_else(|| value_of(provenance.authority), Ok)?;
    match provenance.host {
        Some(host) => drop(fields.insert(HOST, host.clone())),
        None if is_named => {}
        None => drop(fields.insert(HOST, authority.clone())),
    }
    if !route.rewrite.stripped().is_empty() {
        fields.insert(X_FORWARDED_PREFIX, value_of(route.rewrite.stripped())?);
    }
    let client = provenance.client_text.cloned().map_or_else(|| address_of(provenance.client), Ok)?;
    fields.insert(X_FORWARDED_FOR, client);
    fields.insert(X_FORWARDED_PROTO, provenance.scheme.clone());
    fields.insert(X_FORWARDED_HOST, authority);
    if let Some(ClientCertificate { fingerprint, subject }) = provenance.certificate {
        // As Envoy writes it; a quote in the subject stays within its quotes.
        let subject = subject.replace('\\', "\\\\").replace('"', "\\\"");
        let shown = format!("Hash={fingerprint};Subject=\"{subject}\"");
        let shown: String =
            shown.chars().map(|sign| if sign.is_ascii_graphic() || sign == ' ' { sign } else { '?' }).collect();
        fields.insert(X_FORWARDED_CLIENT_CERT, value_of(&shown)?);
    }
    match provenance.assertion {
        Some((name, value)) => drop(fields.insert(name.clone(), value.clone())),
        None if pass.wants_assertion() => {
            return Error::e_explain(
                ErrorType::InternalError,
                "a request without the assertion that its route asks for",
            );
        }
        None => {}
    }
    fields.insert(X_REQUEST_ID, provenance.request_id.clone());
    Ok(())
}

/// The name of a request, in requests to upstreams and in answers.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The visitor's address.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

fn value_of(text: &str) -> pingora::Result<HeaderValue> {
    HeaderValue::from_str(text).or_err(ErrorType::InternalError, "write a header field")
}

/// An address as text. The general way of writing one costs as much as the rest of a field.
fn address_of(address: IpAddr) -> pingora::Result<HeaderValue> {
    let IpAddr::V4(address) = address else { return value_of(&address.to_string()) };
    let mut text = Vec::with_capacity(15);
    for part in address.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        if part >= 100 {
            text.push(b'0' + part / 100);
        }
        if part >= 10 {
            text.push(b'0' + part / 10 % 10);
        }
        text.push(b'0' + part % 10);
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).or_err(ErrorType::InternalError, "write an address")
}

/// Changes the fields of a request. The framework's own way of doing so reads each name anew, and changes a second table
/// beside that of the fields, in which it keeps how HTTP/1 spells the names; afterwards they are spelled as in HTTP/2.
///
/// # Errors
/// When the target cannot be kept.
pub fn change<T>(request: &mut RequestHeader, change: impl FnOnce(&mut HeaderMap) -> T) -> pingora::Result<T> {
    // Of some targets the framework keeps more than their URI.
    let is_uri = |path: &http::uri::PathAndQuery| path.as_str().as_bytes() == request.raw_path();
    let is_uri = request.uri.path_and_query().is_some_and(is_uri);
    let target = (!is_uri).then(|| request.raw_path().to_vec());
    let ends_with_header = request.send_end_stream();
    let empty = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = http::request::Parts::from(mem::replace(request, empty));
    let changed = change(&mut parts.headers);
    *request = RequestHeader::from(parts);
    if let Some(ends_with_header) = ends_with_header {
        request.set_send_end_stream(ends_with_header);
    }
    target.map_or(Ok(()), |target| request.set_raw_path(&target))?;
    Ok(changed)
}

/// Lets go of how HTTP/1 spells the names, so that the copy of a request that goes out is made of one table.
///
/// # Errors
/// When the target cannot be kept.
pub fn let_go_of_spelling(request: &mut RequestHeader) -> pingora::Result<()> {
    if request.has_case() { change(request, |_| ()) } else { Ok(()) }
}

/// Changes the fields of an answer in the same way.
///
/// # Errors
/// When the reason phrase cannot be kept.
pub fn change_answer<T>(response: &mut ResponseHeader, change: impl FnOnce(&mut HeaderMap) -> T) -> pingora::Result<T> {
    let reason = response.get_reason_phrase().filter(|reason| Some(*reason) != response.status.canonical_reason());
    let reason = reason.map(str::to_owned);
    let empty = ResponseHeader::from(http::Response::new(()).into_parts().0);
    let mut parts = http::response::Parts::from(mem::replace(response, empty));
    let changed = change(&mut parts.headers);
    *response = ResponseHeader::from(parts);
    reason.map_or(Ok(()), |reason| response.set_reason_phrase(Some(&reason)))?;
    Ok(changed)
}

/// 132 random bits in base64url. A thread gets many at once, as parts of one text: the generator costs more to ask than to
/// answer, and each text of its own would be allocated.
fn fresh_name() -> HeaderValue {
    const MANY: usize = 64;
    /// The bytes of one, and the letters that they make, of which so many count.
    const BYTES: usize = 18;
    const LETTERS: usize = 24;
    const LENGTH: usize = 22;
    thread_local! {
        static LEFT: RefCell<Bytes> = const { RefCell::new(Bytes::new()) };
    }
    let mut name = LEFT.with_borrow_mut(|left| {
        if left.is_empty() {
            *left = crate::secret::base64url(&crate::secret::random_bytes::<{ BYTES * MANY }>()).into();
        }
        left.split_to(LETTERS)
    });
    name.truncate(LENGTH);
    HeaderValue::from_maybe_shared(name).expect("base64url is ASCII")
}

/// Whether the value of a field is better not shown to anybody, by what the field is called.
pub fn may_be_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["authorization", "cookie", "credential", "key", "password", "secret", "token"];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Takes the gateway's cookie names out of what the upstream sets.
pub fn drop_own_cookies(fields: &mut HeaderMap) {
    let is_own = |field: &HeaderValue| cookie::is_own(field.as_bytes());
    if !fields.get_all(SET_COOKIE).iter().any(is_own) {
        return;
    }
    let others: Vec<HeaderValue> = fields.get_all(SET_COOKIE).iter().filter(|field| !is_own(field)).cloned().collect();
    fields.remove(SET_COOKIE);
    for field in others {
        fields.append(SET_COOKIE, field);
    }
}

/// Which fields an answer has of those that something is done about. One look at all of them costs no more than one for a
/// single name.
#[derive(Clone, Copy, Default)]
pub struct Present {
    /// `Set-Cookie`
    pub cookies: bool,
    /// `Keep-Alive`
    pub keep_alive: bool,
    /// `Strict-Transport-Security`
    pub transport_security: bool,
    cache_control: bool,
    /// What caches listen to before `Cache-Control`.
    for_caches: bool,
}

impl Present {
    /// Those of these fields.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in fields.keys() {
            match name.as_str() {
                "set-cookie" => present.cookies = true,
                "keep-alive" => present.keep_alive = true,
                "strict-transport-security" => present.transport_security = true,
                "cache-control" => present.cache_control = true,
                "cdn-cache-control" | "surrogate-control" => present.for_caches = true,
                _ => {}
            }
        }
        present
    }
}

/// Keeps shared caches from answers that were made for one visitor (RFC 9111 section 5.2.2.7), also those that
/// listen to a field of their own before `Cache-Control` (RFC 9213).
pub fn make_private(fields: &mut HeaderMap, present: Present) {
    if present.for_caches {
        fields.remove(CDN_CACHE_CONTROL);
        fields.remove(SURROGATE_CONTROL);
    }
    if !present.cache_control {
        fields.insert(CACHE_CONTROL, PRIVATE.clone());
        return;
    }
    let is_shared = |text: &str| {
        let start = text.as_bytes().get(.."s-maxage".len()).unwrap_or_default();
        text.eq_ignore_ascii_case("public") || start.eq_ignore_ascii_case(b"s-maxage")
    };
    let is_closed = |text: &str| text.eq_ignore_ascii_case("private") || text.eq_ignore_ascii_case("no-store");
    // Pieces of fields are one.
    let texts = || fields.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let directives = || texts().flat_map(|field| field.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let look = |(closed, shared), text| (closed || is_closed(text), shared || is_shared(text));
    let (is_fine, is_also_shared) = directives().fold((false, false), look);
    if is_fine && !is_also_shared {
        return;
    }
    let mut kept = String::from(if is_fine { "" } else { "private" });
    for directive in directives().filter(|text| !is_shared(text)) {
        if !kept.is_empty() {
            kept.push_str(", ");
        }
        kept.push_str(directive);
    }
    fields.insert(CACHE_CONTROL, HeaderValue::try_from(kept).unwrap_or_else(|_| PRIVATE.clone()));
}

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
static PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// The request ID: a trusted proxy's, where it is a plain word, or a fresh one. HTTP/2 is not to keep it for later requests
/// (RFC 7541 section 6.2.3): none has the same, and each search of its table would be one through all that were there.
pub fn request_id(headers: &HeaderMap, peer_is_trusted: bool) -> HeaderValue {
    let given = if peer_is_trusted { headers.get(X_REQUEST_ID) } else { None };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut id = match given {
        Some(id) if (8..=64).contains(&id.len()) && id.as_bytes().iter().all(plain) => id.clone(),
        _ => fresh_name(),
    };
    id.set_sensitive(true);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::headers::Config;

    #[test]
    fn managed_names_are_dropped_in_every_spelling() {
        let names = [(Attribute::User, "X-Person".to_owned()), (Attribute::Email, "-Own".to_owned())].into();
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
        for name in managed.folded.iter().map(String::as_str).chain(FAMILIES) {
            assert!(managed.drops(name), "{name}");
            assert!(managed.drops(&name.replace('-', "+")), "{name}");
        }
        for name in ["accept", "authorization", "x-custom", "remote-control", "x-forward", "user"] {
            assert!(!managed.drops(name), "{name}");
        }
    }

    #[test]
    fn what_a_request_or_an_answer_has_beside_fields_stays() {
        for target in ["/a?b", "*", "http://app.example.test/a", "/\u{e9}"] {
            let mut request = RequestHeader::build("OPTIONS", target.as_bytes(), None).unwrap();
            request.append_header("X-Spelled", "1").unwrap();
            change(&mut request, |fields| fields.insert(HOST, HeaderValue::from_static("app.example.test"))).unwrap();
            assert_eq!((request.raw_path(), request.method.as_str()), (target.as_bytes(), "OPTIONS"));
            let mut wire = Vec::new();
            request.header_to_h1_wire(&mut wire);
            assert_eq!(String::from_utf8_lossy(&wire), "x-spelled: 1\r\nHost: app.example.test\r\n");
        }
        let mut answer = ResponseHeader::build(404, None).unwrap();
        answer.set_reason_phrase(Some("Nowhere")).unwrap();
        change_answer(&mut answer, |fields| make_private(fields, Present::of(fields))).unwrap();
        assert_eq!((answer.status.as_u16(), answer.get_reason_phrase()), (404, Some("Nowhere")));
    }

    #[test]
    fn addresses_are_written_as_ever() {
        for address in ["0.0.0.0", "127.0.0.1", "10.20.130.99", "255.100.9.1", "2001:db8::1"] {
            assert_eq!(address_of(address.parse().unwrap()).unwrap(), address);
        }
    }

    #[test]
    fn answers_become_private() {
        let check = |given: &[&'static str], expected: &str| {
            let mut response = ResponseHeader::build(200, None).unwrap();
            for value in given {
                response.append_header("Cache-Control", *value).unwrap();
            }
            change_answer(&mut response, |fields| make_private(fields, Present::of(fields))).unwrap();
            let fields = response.headers.get_all("cache-control").iter().map(|field| field.to_str().unwrap());
            assert_eq!(fields.collect::<Vec<_>>().join(", "), expected, "{given:?}");
        };
        check(&[], "private");
        check(&["max-age=60"], "private, max-age=60");
        check(&["public, max-age=60, S-MaxAge=9"], "private, max-age=60");
        check(&["no-store"], "no-store");
        check(&["max-age=5", "private"], "max-age=5, private");
        check(&["private, s-maxage=5", "public"], "private");
        check(&["public"], "private");
        check(&["é"], "private");
    }

    #[test]
    fn the_upstream_cannot_set_our_cookies() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for value in ["a=1", "linkgate=stolen; Path=/", "__Host-linkgate=x", "b=2"] {
            response.append_header("Set-Cookie", value).unwrap();
        }
        change_answer(&mut response, drop_own_cookies).unwrap();
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
        assert!([given("0123456789abcdef", true), given("short", true)].iter().all(HeaderValue::is_sensitive));
    }
}
