//! Header fields: whatever a visitor calls them, the managed ones an upstream gets are the gateway's.
//!
//! The input is text: a field per line, as in a request.

use crate::{stranger_at, table};
use http::HeaderValue;
use linkgate::identity::headers::{Config, Plan};
use linkgate::proxy::access::Verdict;
use linkgate::proxy::headers::{Managed, Provenance, write};
use linkgate::proxy::tls::ClientCertificate;
use pingora::http::RequestHeader;
use serde_json::json;

/// What only the gateway says, however it is spelled.
const MANAGED: [&str; 11] = [
    "forwarded",
    "proxy",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "x-original-url",
    "x-person",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];
const FAMILIES: [&str; 5] = ["cf-access-", "x-auth-request-", "x-forwarded-", "x-linkgate-", "x-pomerium-"];
/// What it says on a public route.
const WRITTEN: [(&str, &str); 5] = [
    ("host", "app.example.test"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "app.example.test"),
    ("x-request-id", "id"),
];

/// What it says of the certificate that a visitor showed.
const CERTIFICATE: &str = "x-forwarded-client-cert";

/// Panics where that does not hold.
pub fn check(text: &[u8]) {
    let Ok(mut request) = RequestHeader::build("GET", b"/", None) else { return };
    let mut others: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let Ok(name) = String::from_utf8(line[..colon].to_vec()) else { continue };
        let value = line[colon + 1..].to_vec();
        let Ok(field) = HeaderValue::from_bytes(&value) else { continue };
        if request.append_header(name.clone(), field).is_ok() && !is_managed(&name) && !is_kept_apart(&name) {
            others.push((name.to_ascii_lowercase(), value));
        }
    }
    let names = [(linkgate::identity::headers::Attribute::User, "X-Person".to_owned())].into();
    let managed = Managed::new(&Plan::new(&Config { names, ..Config::default() }).expect("header names"));
    let table = table([json!({ "path": "/", "access": "public" })]).expect("a route");
    let route = table.routes().next().expect("a route");
    let Verdict::Pass(pass) = stranger_at(route) else { panic!("the route is public") };
    let certificate =
        ClientCertificate { fingerprint: "00".to_owned(), subject: String::from_utf8_lossy(text).into_owned() };
    let provenance = Provenance {
        assertion: None,
        certificate: Some(&certificate),
        client: [192, 0, 2, 1].into(),
        client_text: None,
        scheme: HeaderValue::from_static("https"),
        authority: "app.example.test",
        request_id: &HeaderValue::from_static("id"),
        host: None,
        identity: None,
        cookies: None,
    };
    write(&mut request, &managed, &pass, &provenance).expect("the fields are written");

    // As it goes over the wire, where the framework has its own memory of how names were spelled.
    let mut wire = Vec::new();
    request.header_to_h1_wire(&mut wire);
    let wire = String::from_utf8_lossy(&wire).to_ascii_lowercase();
    let names = wire.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name);
    let written = names.filter(|name| is_managed(name) || *name == "host");
    let mut written: Vec<&str> = written.collect();
    written.sort_unstable();
    let mut expected = [&WRITTEN.map(|(name, _)| name)[..], &[CERTIFICATE]].concat();
    expected.sort_unstable();
    assert_eq!(written, expected, "{wire}");
    for (name, value) in WRITTEN {
        let values: Vec<_> = request.headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    let shown = request.headers[CERTIFICATE].to_str().expect("printable ASCII");
    let subject = shown.strip_prefix("Hash=00;Subject=\"").and_then(|rest| rest.strip_suffix('"')).expect("its form");
    assert!(!subject.replace("\\\\", "").replace("\\\"", "").contains('"'), "{shown} ends in its quotes");
    for (name, value) in others {
        assert!(request.headers.get_all(&name).iter().any(|kept| kept.as_bytes() == value), "{name} is lost");
    }
}

/// Whether some server could take a name for a managed one.
fn is_managed(name: &str) -> bool {
    let folded = name.to_ascii_lowercase().replace(|sign: char| !sign.is_ascii_alphanumeric(), "-");
    MANAGED.contains(&&*folded) || FAMILIES.iter().any(|family| folded.starts_with(family))
}

/// Names that have a rule of their own.
fn is_kept_apart(name: &str) -> bool {
    name.contains('_') || name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("cookie")
}
