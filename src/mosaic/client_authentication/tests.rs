//! Which files are keys and certificates that a client can use.

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn certificate(key: &KeyPair) -> String {
    CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(key).unwrap().pem()
}

#[track_caller]
fn key_problem(pem: &str) -> String {
    AssertionKey::parse(pem.as_bytes(), None).unwrap_err().to_string()
}

#[test]
fn a_key_that_signs_for_the_client_is_rsa_or_p_256_without_a_passphrase() {
    for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let pem = KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        assert!(AssertionKey::parse(pem.as_bytes(), None).is_ok());
        // What stands around the key does not matter.
        assert!(AssertionKey::parse(format!("# a key\n{pem}\n").as_bytes(), Some("k")).is_ok());
    }
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let pem = KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        assert_eq!(key_problem(&pem), BadFile::UnusableKey.to_string());
    }
    let pem = KeyPair::generate().unwrap().serialize_pem();
    for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        assert_eq!(key_problem(&pem.replace("PRIVATE KEY", label)), BadFile::UnusableKey.to_string());
    }
    let encrypted = pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for wrong in ["", "hunter2", &encrypted, &certificate(&KeyPair::generate().unwrap())] {
        assert_eq!(key_problem(wrong), BadFile::NoPrivateKey.to_string());
    }
}

#[test]
fn a_key_and_a_certificate_are_not_shown() {
    let key = KeyPair::generate().unwrap();
    let parsed = AssertionKey::parse(key.serialize_pem().as_bytes(), Some("key-1")).unwrap();
    assert_eq!(format!("{parsed:?}"), "AssertionKey { key_id: \"key-1\", .. }");
    let certificate = ClientCertificate(Secret::new(key.serialize_pem().into_bytes()));
    assert_eq!(format!("{certificate:?}"), "ClientCertificate([redacted])");
}

#[test]
fn certificates_are_pem() {
    let one = certificate(&KeyPair::generate().unwrap());
    let count = |pem: &str| certificates(pem.as_bytes()).map(|found| found.len()).map_err(|error| error.to_string());
    assert_eq!(count(&one), Ok(1));
    assert_eq!(count(&one.repeat(3)), Ok(3));
    let broken = one.replace("-----END", "----END");
    for wrong in ["", "x", &broken, &KeyPair::generate().unwrap().serialize_pem()] {
        assert_eq!(count(wrong), Err(BadFile::NoCertificate.to_string()));
    }
}
