//! The names of the one tenant and its applications, made once and shared through the store.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::records;
use crate::clock::Timestamp;
use crate::secret::random_bytes;
use crate::store::{Error, Shared, Store};

const KEY: &str = "issuer/tenant";

#[derive(Clone, Debug)]
pub(super) struct Tenant {
    /// `tid` of every token.
    pub(super) id: String,
    /// The application of clients and users that name no other.
    pub(super) default_application: Application,
}

/// What users are associated with and clients act for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Application {
    /// `app_id` in access tokens.
    pub(super) id: String,
    /// `app_name` in access tokens.
    pub(super) name: String,
}

/// The tenant as it is stored. The name of its first application may change, its ID does not.
#[derive(Serialize, Deserialize)]
struct StoredTenant {
    id: String,
    app_id: String,
}

impl Tenant {
    /// The tenant, whose first application goes by `app_name` now.
    pub(super) async fn load(store: &Shared, app_name: &str) -> Result<Self, Error> {
        let fresh = StoredTenant { id: fresh_id(), app_id: fresh_id() };
        let StoredTenant { id, app_id } = first(store.as_ref(), KEY, fresh).await?;
        Ok(Self { id, default_application: Application { id: app_id, name: app_name.to_owned() } })
    }

    /// The application of that name.
    pub(super) async fn application(&self, name: &str, store: &Shared) -> Result<Application, Error> {
        if name == self.default_application.name {
            return Ok(self.default_application.clone());
        }
        let id = first(store.as_ref(), &format!("issuer/app/{name}"), fresh_id()).await?;
        Ok(Application { id, name: name.to_owned() })
    }
}

/// The record under `key`: `fresh`, unless another instance or an earlier run was first.
async fn first<T: Serialize + DeserializeOwned>(store: &dyn Store, key: &str, fresh: T) -> Result<T, Error> {
    if records::claim(store, key, &fresh, Timestamp::NEVER).await? {
        return Ok(fresh);
    }
    records::load(store, key).await?.ok_or_else(|| Error::Corrupt(key.to_owned()))
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
