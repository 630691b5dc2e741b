//! Tokens of every wrong kind, each made from a fine one by one change.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::identity::ClaimPath;
use crate::mosaic::ClaimsRequest;
use crate::secret::{base64url, mac};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://eu.userid.security";
const CLIENT: &str = "client-1";

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

fn public_key(key: &KeyPair, algorithm: Option<Algorithm>) -> PublicKey {
    let public = key.public_key();
    PublicKey {
        algorithm,
        modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
        exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
    }
}

fn header() -> Value {
    json!({"alg": "RS256", "kid": "k1", "typ": "JWT"})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "user-1", "tid": "tenant-1",
        "iat": NOW - 10, "exp": NOW + 3600, "auth_time": NOW - 20, "amr": ["eml"],
        "email": "ada@example.com", "email_verified": true,
    })
}

fn sign_raw(header: &str, claims: &str, encoding: &'static dyn RsaEncoding) -> String {
    let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", base64url(&signature))
}

fn sign(header: &Value, claims: &Value) -> String {
    sign_raw(&header.to_string(), &claims.to_string(), &RSA_PKCS1_SHA256)
}

fn expected() -> Expected<'static> {
    static WORDING: LazyLock<Wording> = LazyLock::new(Wording::default);
    expected_by(&WORDING)
}

fn expected_by(wording: &Wording) -> Expected<'_> {
    Expected { issuer: ISSUER, client_id: CLIENT, wording, now: Timestamp::from_unix_seconds(NOW) }
}

fn verify(token: &str) -> Result<IdToken, Error> {
    Unverified::parse(token)?.id_token(&public_key(&KEY, None), expected())
}

/// A fine value with one member set.
fn with(mut object: Value, member: &str, value: &Value) -> Value {
    object[member] = value.clone();
    object
}

fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().unwrap().remove(member);
    object
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "reads better in the tables")]
fn claim(name: &str, value: &Value, outcome: Result<(), Error>) {
    let found = verify(&sign(&header(), &with(claims(), name, value))).map(|_| ());
    assert_eq!(found, outcome, "{name} = {value}");
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "reads better in the tables")]
fn header_member(name: &str, value: &Value, outcome: Result<(), Error>) {
    let found = verify(&sign(&with(header(), name, value), &claims())).map(|_| ());
    assert_eq!(found, outcome, "{name} = {value}");
}

#[test]
fn a_fine_token_says_who_it_is() {
    let mut said = claims();
    for (name, value) in [
        ("fname", json!("Ada")),
        ("lname", json!(" Lovelace ")),
        ("username", json!("ada")),
        ("groups", json!(["g1", "g2"])),
        ("roles", json!(["id1"])),
        ("role_values", json!(["admin"])),
    ] {
        said[name] = value;
    }
    let found = verify(&sign(&header(), &said)).unwrap();
    let full = IdToken {
        subject: Subject::try_from("user-1".to_owned()).unwrap(),
        authenticated_at: Some(Timestamp::from_unix_seconds(NOW - 20)),
        email: EmailAddress::parse("ada@example.com").ok(),
        email_verified: Some(true),
        name: Some("Ada Lovelace".to_owned()),
        username: Some("ada".to_owned()),
        groups: Some(vec!["g1".to_owned(), "g2".to_owned()]),
        roles: Some(vec!["admin".to_owned()]),
        phone_number: None,
        permissions: None,
        organization: None,
        extra: Map::new(),
    };
    assert_eq!(found, full);
    assert_eq!(verify(&sign(&header(), &without(said, "role_values"))).unwrap().roles, Some(vec!["id1".to_owned()]));
}

#[test]
fn claims_beyond_the_usual_are_kept_where_they_were_asked_for() {
    let data = json!({"department": "R&D"});
    let mut said = claims();
    for (name, value) in [
        ("custom_data", data.clone()),
        ("custom_app_data", json!({"x": 1})),
        ("organization", json!("org-1")),
        ("permissions", json!(["reports:read"])),
        ("phone_number", json!("+12025550123")),
        ("picture", Value::Null),
    ] {
        said[name] = value;
    }
    let paths = ["custom_data.department", "picture"].map(|path| ClaimPath::try_from(path.to_owned()).unwrap());
    let wording = Wording { claims: ClaimsRequest::new(&paths), ..Wording::default() };
    let token = sign(&header(), &said);
    let found = Unverified::parse(&token).unwrap().id_token(&public_key(&KEY, None), expected_by(&wording)).unwrap();
    assert_eq!(found.extra, Map::from_iter([("custom_data".to_owned(), data)]));
    assert_eq!(found.organization.as_deref(), Some("org-1"));
    assert_eq!(found.permissions, Some(vec!["reports:read".to_owned()]));
    assert_eq!(found.phone_number.as_deref(), Some("+12025550123"));
}

#[test]
fn tokens_of_another_tenant_or_resource_are_refused() {
    let wording = Wording {
        tenant_id: Some("tenant-1".to_owned()),
        resource: Some("https://api.example.com".to_owned()),
        ..Wording::default()
    };
    let check = |claims: &Value, is_id_token: bool, outcome: Result<(), Error>| {
        let token = sign(&header(), claims);
        let (token, key) = (Unverified::parse(&token).unwrap(), public_key(&KEY, None));
        let found = match is_id_token {
            true => token.id_token(&key, expected_by(&wording)).map(|_| ()),
            false => token.access_token(&key, expected_by(&wording)).map(|_| ()),
        };
        assert_eq!(found, outcome, "{claims}");
    };
    check(&claims(), true, Ok(()));
    check(&with(claims(), "tid", &json!("tenant-2")), true, Err(Error::Claim("tid")));
    let access = with(claims(), "aud", &json!("https://api.example.com"));
    check(&access, false, Ok(()));
    check(&with(access.clone(), "aud", &json!(["https://api.example.com"])), false, Ok(()));
    check(&with(access.clone(), "tid", &json!("tenant-2")), false, Err(Error::Claim("tid")));
    for other in [json!("userid-api"), json!(["https://api.example.com", "x"]), json!(7), Value::Null] {
        check(&with(access.clone(), "aud", &other), false, Err(Error::Claim("aud")));
    }
}

#[test]
fn claims_that_were_not_granted_are_absent_or_null() {
    let mut said = without(without(without(claims(), "email"), "email_verified"), "auth_time");
    for name in ["fname", "lname", "username", "groups", "roles", "role_values", "email"] {
        said[name] = Value::Null;
    }
    let bare = IdToken {
        subject: Subject::try_from("user-1".to_owned()).unwrap(),
        authenticated_at: None,
        email: None,
        email_verified: None,
        name: None,
        username: None,
        groups: None,
        roles: None,
        phone_number: None,
        permissions: None,
        organization: None,
        extra: Map::new(),
    };
    assert_eq!(verify(&sign(&header(), &said)), Ok(bare));
}

#[test]
fn rs256_and_ps256_are_the_only_algorithms() {
    assert!(verify(&sign(&header(), &claims())).is_ok());
    let ps256 = with(header(), "alg", &json!("PS256")).to_string();
    assert!(verify(&sign_raw(&ps256, &claims().to_string(), &RSA_PSS_SHA256)).is_ok());
    for name in ["none", "None", "NONE", "HS256", "rs256", "RS384", "RS512", "ES256", "EdDSA", ""] {
        header_member("alg", &json!(name), Err(Error::Algorithm));
    }
    for value in [json!(null), json!(256), json!(["RS256"])] {
        header_member("alg", &value, Err(Error::Algorithm));
    }
    header_member("alg", &json!("PS256"), Err(Error::Signature));
    assert_eq!(verify(&sign(&without(header(), "alg"), &claims())), Err(Error::Algorithm));
}

#[test]
fn an_unsigned_token_or_a_mac_made_with_the_public_key_is_refused() {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let unsigned = format!("{}.{}.", part(&with(header(), "alg", &json!("none"))), part(&claims()));
    assert_eq!(verify(&unsigned), Err(Error::Algorithm));
    assert_eq!(verify(&format!("{}.{}.", part(&header()), part(&claims()))), Err(Error::Signature));
    let signed = format!("{}.{}", part(&with(header(), "alg", &json!("HS256"))), part(&claims()));
    let tag = mac(&public_key(&KEY, None).modulus, signed.as_bytes());
    assert_eq!(verify(&format!("{signed}.{}", base64url(&tag))), Err(Error::Algorithm));
}

#[test]
fn a_key_is_used_only_with_its_own_algorithm_and_for_its_own_signatures() {
    let token = sign(&header(), &claims());
    let verify_with = |key: &PublicKey| Unverified::parse(&token).unwrap().id_token(key, expected()).map(|_| ());
    assert_eq!(verify_with(&public_key(&KEY, Some(Algorithm::Rs256))), Ok(()));
    assert_eq!(verify_with(&public_key(&KEY, Some(Algorithm::Ps256))), Err(Error::Algorithm));
    let other = KeyPair::generate(KeySize::Rsa2048).unwrap();
    assert_eq!(verify_with(&public_key(&other, None)), Err(Error::Signature));
}

#[test]
fn every_changed_part_breaks_the_signature() {
    let token = sign(&header(), &claims());
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let other = base64url(with(claims(), "sub", &json!("user-2")).to_string().as_bytes());
    assert_eq!(verify(&format!("{head}.{other}.{signature}")), Err(Error::Signature));
    let other = base64url(with(header(), "x", &json!(1)).to_string().as_bytes());
    assert_eq!(verify(&format!("{other}.{payload}.{signature}")), Err(Error::Signature));
    assert_eq!(verify(&format!("{head}.{payload}.{}", &signature[..signature.len() - 4])), Err(Error::Signature));
    assert_eq!(verify(&format!("{head}.{payload}.{signature}=")), Err(Error::Signature));
}

#[test]
fn only_the_compact_form_is_read() {
    let token = sign(&header(), &claims());
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let check = |token: &str, error: Error| assert_eq!(verify(token), Err(error), "{token:.80}");
    check("", Error::Malformed);
    check(&format!("{head}.{payload}"), Error::Malformed);
    check(&format!("{token}.{signature}"), Error::Malformed);
    check(&format!("{token}.a.b"), Error::Encrypted);
    check(&format!("{token}.a.b.c"), Error::Malformed);
    check(&format!("{head}=.{payload}.{signature}"), Error::Malformed);
    check(&format!(" {token}"), Error::Malformed);
    check(&json!({"protected": head, "payload": payload, "signature": signature}).to_string(), Error::Malformed);
    check(&".".repeat(1024 * 1024), Error::TooLong);
    check(&".".repeat(16 * 1024), Error::Malformed);
    check(&format!("{token}{}", "A".repeat(16 * 1024)), Error::TooLong);
    assert!(Error::Encrypted.to_string().contains("encryption off"));
}

#[test]
fn header_and_payload_are_objects_without_duplicate_members() {
    let (fine, said) = (header().to_string(), claims().to_string());
    let check = |header: &str, claims: &str| {
        let token = sign_raw(header, claims, &RSA_PKCS1_SHA256);
        assert_eq!(verify(&token), Err(Error::Malformed), "{header} {claims}");
    };
    for wrong in ["[]", "null", "1", "\"x\"", "{", "", "{} {}"] {
        check(wrong, &said);
        check(&fine, wrong);
    }
    check(r#"{"alg":"RS256","kid":"k1","alg":"RS256"}"#, &said);
    check(&fine, &said.replacen('{', r#"{"sub":"user-2","#, 1));
    check(&fine, &said.replacen('{', r#"{"s\u0075b":"user-2","#, 1));
    check(&fine, &said.replacen('{', r#"{"x":{"y":1,"y":2},"#, 1));
    check(&fine, &said.replacen('{', r#"{"x":1e400,"#, 1));
    check(&fine, &format!("{}{}", "[".repeat(5000), "]".repeat(5000)));
}

#[test]
fn a_key_id_is_a_short_name() {
    for fine in ["../../../etc/passwd", "' OR 1=1 --"] {
        let token = sign(&with(header(), "kid", &json!(fine)), &claims());
        assert_eq!(Unverified::parse(&token).unwrap().key_id(), fine);
    }
    for wrong in [json!(""), json!(5), json!(null), json!(["k1"]), json!("k".repeat(257))] {
        header_member("kid", &wrong, Err(Error::KeyId));
    }
    assert_eq!(verify(&sign(&without(header(), "kid"), &claims())), Err(Error::KeyId));
}

#[test]
fn headers_neither_bring_their_own_key_nor_demand_anything() {
    for own in ["jku", "x5u", "jwk", "x5c", "zip"] {
        header_member(own, &json!("https://evil.test/keys"), Ok(()));
    }
    for critical in [json!(["exp"]), json!([]), json!(null)] {
        header_member("crit", &critical, Err(Error::CriticalHeader));
    }
}

#[test]
fn only_an_id_token_is_an_id_token() {
    header_member("typ", &json!("jwt"), Ok(()));
    assert!(verify(&sign(&without(header(), "typ"), &claims())).is_ok());
    for other in [json!("at+jwt"), json!("AT+JWT"), json!("logout+jwt"), json!(1)] {
        header_member("typ", &other, Err(Error::WrongKind));
    }
}

#[test]
fn issuer_and_tenant_must_be_ours() {
    for other in ["https://userid.security", "https://eu.userid.security/", "HTTPS://EU.USERID.SECURITY"] {
        claim("iss", &json!(other), Err(Error::Issuer { found: other.to_owned() }));
    }
    for wrong in [json!(null), json!([ISSUER]), json!({}), json!(""), json!(1)] {
        claim("iss", &wrong, Err(Error::Claim("iss")));
        claim("tid", &wrong, Err(Error::Claim("tid")));
    }
}

#[test]
fn the_audience_is_our_client() {
    let wrong = || Err(Error::Claim("aud"));
    claim("aud", &json!([CLIENT]), Ok(()));
    for other in [
        json!("client-2"),
        json!("client-1 "),
        json!("userid-api"),
        json!([]),
        json!(["client-2"]),
        json!([CLIENT, 1]),
        json!([[CLIENT]]),
        json!(null),
        json!({ CLIENT: true }),
        json!(1),
    ] {
        claim("aud", &other, wrong());
    }
    claim("aud", &json!([CLIENT, "client-2"]), Err(Error::Claim("azp")));
    let shared = |party: &Value| {
        let said = with(with(claims(), "aud", &json!([CLIENT, "client-2"])), "azp", party);
        verify(&sign(&header(), &said)).map(|_| ())
    };
    assert_eq!(shared(&json!(CLIENT)), Ok(()));
    assert_eq!(shared(&json!("client-2")), Err(Error::Claim("azp")));
    claim("azp", &json!("client-2"), Err(Error::Claim("azp")));
    claim("azp", &json!(null), Err(Error::Claim("azp")));
}

#[test]
fn required_claims_are_required() {
    for name in ["iss", "aud", "sub", "tid", "iat", "exp"] {
        let error = verify(&sign(&header(), &without(claims(), name)));
        assert_eq!(error, Err(Error::Claim(name)), "{name}");
    }
    for wrong in [json!(null), json!(""), json!(5), json!("a b"), json!("x".repeat(256))] {
        claim("sub", &wrong, Err(Error::Claim("sub")));
    }
}

#[test]
fn times_have_a_leeway_of_a_minute() {
    claim("exp", &json!(NOW - 59), Ok(()));
    claim("exp", &json!(NOW - 60), Err(Error::Expired));
    claim("exp", &json!(0), Err(Error::Expired));
    for name in ["nbf", "iat", "auth_time"] {
        claim(name, &json!(NOW + 60), Ok(()));
        claim(name, &json!(NOW + 61), Err(Error::NotYetValid));
        claim(name, &json!(253_402_300_799_u64), Err(Error::NotYetValid));
    }
    claim("exp", &json!(NOW as f64 - 59.5), Ok(()));
    claim("exp", &json!(NOW as f64 - 60.5), Err(Error::Expired));
}

#[test]
fn times_are_sane_numbers() {
    for name in ["exp", "iat", "nbf", "auth_time"] {
        let soon = (NOW + 30).to_string();
        for wrong in
            [json!(soon), json!(null), json!(-1), json!(1e300), json!(true), json!([]), json!(253_402_300_800_u64)]
        {
            claim(name, &wrong, Err(Error::Claim(name)));
        }
    }
}

#[test]
fn a_client_token_is_never_a_user() {
    claim("client_id", &json!(CLIENT), Ok(()));
    claim("client_id", &json!("client-2"), Err(Error::Claim("client_id")));
    claim("client_id", &json!(null), Err(Error::Claim("client_id")));
    claim("client_id", &json!("user-1"), Err(Error::ClientToken));
    claim("sub", &json!(CLIENT), Err(Error::ClientToken));
    let access = |sub: &str| {
        let said = with(with(claims(), "aud", &json!("userid-api")), "sub", &json!(sub));
        let token = sign(&header(), &with(said, "client_id", &json!(CLIENT)));
        Unverified::parse(&token)?.access_token(&public_key(&KEY, None), expected())
    };
    assert_eq!(access("user-1").map(String::from), Ok("user-1".to_owned()));
    assert_eq!(access(CLIENT), Err(Error::ClientToken));
}

#[test]
fn wrongly_typed_claims_about_the_user_are_invalid() {
    for (name, wrong) in [
        ("email", json!(1)),
        ("email", json!("not an address")),
        ("email", json!("")),
        ("email", json!("ada@example.com, bob@example.com")),
        ("email_verified", json!("true")),
        ("email_verified", json!(1)),
        ("fname", json!(["Ada"])),
        ("lname", json!({})),
        ("username", json!(7)),
        ("groups", json!("admin")),
        ("groups", json!(["a", 1])),
        ("groups", json!({"a": 1})),
        ("roles", json!([["admin"]])),
        ("role_values", json!([null])),
    ] {
        claim(name, &wrong, Err(Error::Claim(name)));
    }
}

proptest! {
    #[test]
    fn no_text_is_a_token(text in "[A-Za-z0-9_.-]{0,200}|\\PC{0,60}") {
        prop_assert!(verify(&text).is_err());
    }

    #[test]
    fn no_flipped_character_goes_unnoticed(position in 0_usize..4000, replacement in "[A-Za-z0-9_-]") {
        let token = sign(&header(), &claims());
        let position = position % token.len();
        let mut changed = token.clone();
        changed.replace_range(position..=position, &replacement);
        prop_assert_eq!(verify(&changed).is_ok(), changed == token);
    }
}
