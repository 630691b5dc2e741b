//! Typed records of the issuer in the store: JSON under names that begin with `issuer/`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::store::{Error, Store};

/// The record under `key`.
pub(super) async fn load<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<T>, Error> {
    read(key, store.get(key).await?)
}

/// The record under `key`, for one caller only.
pub(super) async fn take<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<T>, Error> {
    read(key, store.take(key).await?)
}

/// Writes the record.
pub(super) async fn save<T: Serialize>(
    store: &dyn Store,
    key: &str,
    record: &T,
    expires_at: Timestamp,
) -> Result<(), Error> {
    store.put(key, &write(record), expires_at).await
}

/// Writes the record unless it was removed meanwhile; says whether it was there.
pub(super) async fn replace<T: Serialize>(
    store: &dyn Store,
    key: &str,
    record: &T,
    expires_at: Timestamp,
) -> Result<bool, Error> {
    store.replace(key, &write(record), expires_at).await
}

/// Writes the record if there is none; says whether it was the first.
pub(super) async fn claim<T: Serialize>(
    store: &dyn Store,
    key: &str,
    record: &T,
    expires_at: Timestamp,
) -> Result<bool, Error> {
    store.put_if_absent(key, &write(record), expires_at).await
}

fn read<T: DeserializeOwned>(key: &str, bytes: Option<Vec<u8>>) -> Result<Option<T>, Error> {
    let Some(bytes) = bytes else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| Error::Corrupt(key.to_owned()))
}

pub(super) fn write<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys only and no failing serializer")
}
