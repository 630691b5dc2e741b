//! One running task for all who want its result at the same time.

use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

/// Lets callers join a task that is under way instead of starting a second one.
///
/// All who joined get the same result, a failure too. The task lives as long as one of them waits for it, so
/// nobody's leaving ends it for the others, and none is left behind half done.
pub(super) struct SingleFlight<T>(Mutex<Option<Weak<T>>>);

enum Joined<T> {
    UnderWay(Shared<BoxFuture<'static, T>>),
    Begun(Shared<BoxFuture<'static, T>>),
}

type Weak<T> = WeakShared<BoxFuture<'static, T>>;

impl<T: Clone> SingleFlight<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The task under way, or the one that `start` makes.
    ///
    /// A task may end between a caller's look at a cache and its joining, so tasks look at the cache again.
    pub(super) fn join(&self, start: impl FnOnce() -> BoxFuture<'static, T>) -> Shared<BoxFuture<'static, T>> {
        match self.join_or_begin(start) {
            Joined::UnderWay(task) | Joined::Begun(task) => task,
        }
    }

    /// The task that `start` makes, for somebody who runs it, unless one is under way.
    pub(super) fn begin(&self, start: impl FnOnce() -> BoxFuture<'static, T>) -> Option<Shared<BoxFuture<'static, T>>> {
        match self.join_or_begin(start) {
            Joined::Begun(task) => Some(task),
            Joined::UnderWay(_) => None,
        }
    }

    fn join_or_begin(&self, start: impl FnOnce() -> BoxFuture<'static, T>) -> Joined<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = slot.as_ref().and_then(WeakShared::upgrade).filter(|task| task.peek().is_none());
        if let Some(task) = under_way {
            return Joined::UnderWay(task);
        }
        let task = start().shared();
        *slot = task.downgrade();
        Joined::Begun(task)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[derive(Clone, Default)]
    struct Task {
        runs: Arc<AtomicU32>,
        go: Arc<Notify>,
    }

    impl Task {
        fn start(&self) -> BoxFuture<'static, u32> {
            let task = self.clone();
            async move {
                let run = task.runs.fetch_add(1, Ordering::SeqCst) + 1;
                task.go.notified().await;
                run
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn all_who_wait_share_one_run_even_when_the_first_leaves() {
        let (flight, task) = (SingleFlight::new(), Task::default());
        let mut first = flight.join(|| task.start());
        assert_eq!((&mut first).now_or_never(), None);
        let (second, third) = (flight.join(|| task.start()), flight.join(|| task.start()));
        drop(first);
        task.go.notify_one();
        assert_eq!((second.await, third.await), (1, 1));
        assert_eq!(task.runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_task_under_way_is_not_begun_again() {
        let (flight, task) = (SingleFlight::new(), Task::default());
        let begun = flight.begin(|| task.start()).expect("none is under way");
        assert!(flight.begin(|| task.start()).is_none());
        task.go.notify_one();
        assert_eq!(begun.await, 1);
        assert!(flight.begin(|| task.start()).is_some());
    }

    #[tokio::test]
    async fn an_ended_or_abandoned_task_is_not_joined() {
        let (flight, task) = (SingleFlight::new(), Task::default());
        let mut abandoned = flight.join(|| task.start());
        assert_eq!((&mut abandoned).now_or_never(), None);
        drop(abandoned);
        task.go.notify_one();
        let kept = flight.join(|| task.start());
        assert_eq!(kept.clone().await, 2);
        task.go.notify_one();
        assert_eq!(flight.join(|| task.start()).await, 3);
        drop(kept);
    }
}
