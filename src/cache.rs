//! Values in memory: bounded, with one loader per key at a time. When a value is too old is the caller's to say.

use std::hash::Hash;
use std::sync::Arc;

use moka::ops::compute::{CompResult, Op};

/// At most so many values; those that are used least make room.
pub struct Cache<K, V>(moka::future::Cache<K, Arc<V>>);

impl<K: Copy + Eq + Hash + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Room for `most` values.
    pub fn new(most: u64) -> Self {
        Self(moka::future::Cache::new(most))
    }

    /// The value, however old it is.
    pub async fn get(&self, key: K) -> Option<Arc<V>> {
        self.0.get(&key).await
    }

    /// Keeps a value.
    pub async fn keep(&self, key: K, value: V) {
        self.0.insert(key, Arc::new(value)).await;
    }

    /// Gives the value that `load` makes of the present one. Of many callers one loads at a time, and the others are
    /// handed what it made; `None` leaves no value.
    ///
    /// # Errors
    /// Those of `load`, which change nothing.
    pub async fn load<F, Fut, E>(&self, key: K, load: F) -> Result<Option<Arc<V>>, E>
    where
        F: FnOnce(Option<Arc<V>>) -> Fut,
        Fut: Future<Output = Result<Option<Arc<V>>, E>>,
        E: Send + Sync + 'static,
    {
        let loaded = self.0.entry(key).and_try_compute_with(async |entry| {
            let present = entry.map(moka::Entry::into_value);
            let loaded = load(present.clone()).await?;
            Ok::<_, E>(match (present, loaded) {
                (Some(present), Some(loaded)) if Arc::ptr_eq(&present, &loaded) => Op::Nop,
                (_, Some(loaded)) => Op::Put(loaded),
                (Some(_), None) => Op::Remove,
                (None, None) => Op::Nop,
            })
        });
        Ok(match loaded.await? {
            CompResult::StillNone(_) | CompResult::Removed(_) => None,
            CompResult::Unchanged(entry) | CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) => {
                Some(entry.into_value())
            }
        })
    }

    /// Forgets one value, after any load of it that is under way.
    pub async fn forget(&self, key: K) {
        self.0.entry(key).and_compute_with(async |_| Op::Remove).await;
    }

    /// Forgets every value.
    pub fn forget_all(&self) {
        self.0.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_never_many_more_than_there_is_room_for() {
        let cache = Cache::new(100);
        for key in 0..20_000_u32 {
            cache.keep(key, ()).await;
        }
        cache.0.run_pending_tasks().await;
        assert!(cache.0.entry_count() <= 100, "{}", cache.0.entry_count());
    }

    #[tokio::test]
    async fn a_failed_load_leaves_what_there_was() {
        let cache = Cache::new(10);
        cache.keep(1, "one").await;
        assert_eq!(cache.load(1, async |_| Err::<Option<Arc<&str>>, _>("away")).await, Err("away"));
        assert_eq!(cache.get(1).await.as_deref(), Some(&"one"));
        assert_eq!(cache.load(1, async |_| Ok::<_, &str>(None)).await, Ok(None));
        assert_eq!(cache.get(1).await, None);
    }
}
