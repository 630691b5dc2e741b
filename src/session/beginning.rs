//! Where and when a session began: what its user tells it from their others by.
//!
//! The record of a session is sealed with a key that only its browser has. So this stands beside it: it opens nothing, and
//! tells whoever reads the store no more than the access log does.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Sessions;
use super::id::Key;
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::secret::fingerprint;
use crate::store;

/// Where somebody signs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whence {
    /// What their browser calls itself.
    pub agent: Agent,
    /// The address that they come from.
    pub client: IpAddr,
}

/// Where and when a session began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// Where.
    #[serde(flatten)]
    pub whence: Whence,
    /// When.
    pub at: Timestamp,
    /// The fingerprint of its session at Mosaic, to find that among the user's.
    mosaic_session: String,
}

impl Beginning {
    pub(super) fn new(whence: Whence, at: Timestamp, mosaic_session: &str) -> Self {
        Self { whence, at, mosaic_session: fingerprint(mosaic_session) }
    }

    /// What [`fingerprint`] makes of the name of its session at Mosaic.
    pub(super) fn mosaic_session(&self) -> &str {
        &self.mosaic_session
    }
}

impl Sessions {
    pub(super) async fn keep_beginning(
        &self,
        key: Key,
        beginning: &Beginning,
        expires_at: Timestamp,
    ) -> Result<(), store::Error> {
        let record = serde_json::to_vec(beginning).map_err(|_| store::Error::Corrupt(began_name(key)))?;
        self.store.put(&began_name(key), &record, expires_at).await
    }

    /// Where a session began; nothing is known of one that an earlier version began.
    pub(super) async fn beginning(&self, key: Key) -> Result<Option<Beginning>, store::Error> {
        let Some(record) = self.store.get(&began_name(key)).await? else { return Ok(None) };
        Ok(serde_json::from_slice(&record).ok())
    }

    /// Keeps up with a session that goes on at Mosaic under another name.
    pub(super) async fn follow_at_mosaic(
        &self,
        key: Key,
        mosaic_session: &str,
        expires_at: Timestamp,
    ) -> Result<(), store::Error> {
        match self.beginning(key).await? {
            Some(Beginning { whence, at, .. }) => {
                self.keep_beginning(key, &Beginning::new(whence, at, mosaic_session), expires_at).await
            }
            None => Ok(()),
        }
    }
}

pub(super) fn began_name(key: Key) -> String {
    format!("session_began:{}", key.to_text())
}
