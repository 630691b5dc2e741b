//! Assertions in memory: a hit signs nothing. When one is due is the caller's to say.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::clock::Timestamp;
use crate::identity::Identity;

/// At most this many are kept; others are minted again when they are wanted.
const MOST_ENTRIES: u64 = 100_000;

/// An assertion, and what it was made of.
pub(super) struct Minted {
    pub(super) value: HeaderValue,
    /// When another takes its place.
    pub(super) due_at: Timestamp,
    pub(super) identity: Identity,
    pub(super) signed_in_at: Timestamp,
    /// The key that signed it.
    pub(super) key_id: String,
}

/// Assertions by visit and route.
pub(super) struct Cache(moka::future::Cache<String, Arc<Minted>>);

impl Cache {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self(moka::future::Cache::builder().max_capacity(MOST_ENTRIES).time_to_live(lifetime).build())
    }

    pub(super) async fn find(&self, name: &str) -> Option<Arc<Minted>> {
        self.0.get(name).await
    }

    pub(super) async fn keep(&self, name: String, minted: Minted) {
        self.0.insert(name, Arc::new(minted)).await;
    }
}
