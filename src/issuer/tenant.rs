//! The names of the one tenant and its one application, made once and shared through the store.

use serde::{Deserialize, Serialize};

use super::records;
use crate::clock::Timestamp;
use crate::secret::random_bytes;
use crate::store::{Error, Store};

const KEY: &str = "issuer/tenant";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tenant {
    /// `tid` of every token.
    pub(super) id: String,
    /// `app_id` of every access token.
    pub(super) app_id: String,
}

impl Tenant {
    pub(super) async fn load(store: &crate::store::Shared) -> Result<Self, Error> {
        let store: &dyn Store = store.as_ref();
        let fresh = Self { id: fresh_id(), app_id: fresh_id() };
        if records::claim(store, KEY, &fresh, Timestamp::NEVER).await? {
            return Ok(fresh);
        }
        records::load(store, KEY).await?.ok_or_else(|| Error::Corrupt(KEY.to_owned()))
    }
}

/// 21 lowercase letters and digits, as Mosaic names users, applications and tokens: 108 random bits.
pub(super) fn fresh_id() -> String {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut id = String::with_capacity(21);
    while id.len() < 21 {
        // Bytes from 252 up would favour the first letters.
        let fair = random_bytes::<32>().into_iter().filter(|byte| *byte < 252);
        id.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte) % 36])).take(21 - id.len()));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_21_lowercase_letters_and_digits() {
        let id = fresh_id();
        assert_eq!(id.len(), 21);
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{id}");
        assert_ne!(id, fresh_id());
    }
}
