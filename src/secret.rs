//! Secrets and the few cryptographic tools that everything else is built from.
//!
//! One back end (aws-lc-rs) serves the whole binary. This is also the one door through which
//! randomness comes in.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize;

/// A value that must not be seen: no `Display`, redacted in `Debug`, overwritten when dropped.
///
/// It has no `Serialize` either; a record that must hold one says so with `expose`.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Hides `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that must have it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Bytes from the operating system's generator.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws random bytes")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system generator answers once the kernel has booted");
    bytes
}

/// 256 random bits as 43 base64url characters: a state, a code, a token.
pub fn random_token() -> Secret<String> {
    Secret::new(base64url(&random_bytes::<32>()))
}

/// base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes behind base64url without padding; `None` when a character or a trailing bit is out of place.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// SHA-256 as base64url: how a secret is named in the store.
pub fn fingerprint(secret: &str) -> String {
    base64url(&sha256(secret.as_bytes()))
}

/// Whether two byte strings are equal, in time that depends on their length only.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// HMAC-SHA-256 (RFC 2104).
pub fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    tag
}

/// Encrypts records under a key derived from a secret that is not stored beside them
/// (HKDF-SHA-256, RFC 5869; AES-256-GCM with a random nonce).
pub struct Seal(RandomizedNonceKey);

/// A sealed record could not be opened: another key, another name, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("open a sealed record")]
pub struct Unsealable;

impl Seal {
    /// The seal that `secret` makes for one `purpose`; two purposes never share a key.
    pub fn new(secret: &[u8], purpose: &str) -> Self {
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, b"linkgate").extract(secret);
        let info = [purpose.as_bytes()];
        let mut key = [0_u8; 32];
        pseudorandom
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes are one SHA-256 block");
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &key).expect("the key has the length of AES-256");
        key.zeroize();
        Self(sealing)
    }

    /// Seals `plaintext` so that it opens under the same `name` only: nonce, then ciphertext and tag.
    pub fn close(&self, name: &str, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = plaintext.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .expect("records are far below the limit of AES-GCM");
        let mut record = nonce.as_ref().to_vec();
        record.append(&mut sealed);
        record
    }

    /// Opens what [`Seal::close`] made under the same `name`.
    pub fn open(&self, name: &str, record: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = record.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut sealed).map_err(|_| Unsealable)?;
        Ok(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_record_opens_only_with_its_key_its_purpose_and_its_name() {
        let sealed = Seal::new(b"one", "session").close("a", b"record");
        assert_eq!(Seal::new(b"one", "session").open("a", &sealed), Ok(b"record".to_vec()));
        assert_eq!(Seal::new(b"two", "session").open("a", &sealed), Err(Unsealable));
        assert_eq!(Seal::new(b"one", "attempt").open("a", &sealed), Err(Unsealable));
        assert_eq!(Seal::new(b"one", "session").open("b", &sealed), Err(Unsealable));
    }

    #[test]
    fn a_changed_record_does_not_open() {
        let seal = Seal::new(b"one", "session");
        let sealed = seal.close("a", b"record");
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(seal.open("a", &changed), Err(Unsealable), "byte {position}");
        }
        assert_eq!(seal.open("a", &sealed[..5]), Err(Unsealable));
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let tag = mac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn tokens_have_256_bits() {
        assert_eq!(random_token().expose().len(), 43);
        assert_ne!(random_token().expose(), random_token().expose());
    }
}
