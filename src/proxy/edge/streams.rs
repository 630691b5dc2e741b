//! The requests of one HTTP/2 connection. They are answered in tasks of their own, which know nothing of their
//! connection, so what the edge must know of them is noted here.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use super::remembered::Memory;
use super::silence::{Quiet, Wait};
use crate::clock::Timestamp;
use crate::proxy::leave::Leave;

/// A body of which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// The requests of one connection.
#[derive(Default)]
pub(in crate::proxy) struct Streams {
    heard: Notify,
    /// Counts the requests so far.
    requests: AtomicU64,
    /// Held by each that is under way.
    under_way: Arc<UnderWay>,
    open: Mutex<Vec<Weak<Ongoing>>>,
    memory: Memory,
}

/// A request has come and is not done with yet, whoever answers it.
#[derive(Default)]
pub(in crate::proxy) struct UnderWay;

impl Streams {
    /// Notes that a whole request header has arrived. Its request is under way until what is given back is dropped.
    pub(super) fn header_arrived(&self) -> Arc<UnderWay> {
        if self.requests.fetch_add(1, Ordering::Relaxed) == 0 {
            self.heard.notify_one();
        }
        Arc::clone(&self.under_way)
    }

    /// How many requests there were so far, if none is under way.
    pub(super) fn idle_since(&self) -> Option<u64> {
        let is_idle = Arc::strong_count(&self.under_way) == 1;
        is_idle.then(|| self.requests.load(Ordering::Relaxed))
    }

    /// Returns once a request header has arrived.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Notes that a request goes on to an upstream, until what is given back is dropped.
    pub(super) fn forwarded(&self, leave: &Arc<Leave>, is_patient: bool, now: Timestamp) -> Arc<Ongoing> {
        let ongoing = Arc::new(Ongoing {
            leave: Arc::clone(leave),
            is_over: AtomicBool::new(false),
            awaits_body: AtomicBool::new(!is_patient),
            stirred_at: AtomicI64::new(now.unix_millis()),
            wait: Wait::default(),
            quiet: Mutex::default(),
            is_given_up: AtomicBool::new(false),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over make room, so that there are never many more than are under way at once.
        if open.len() == open.capacity() {
            open.retain(|ongoing| ongoing.strong_count() > 0);
        }
        open.push(Arc::downgrade(&ongoing));
        drop(open);
        ongoing
    }

    /// What is remembered of them.
    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Those that are still under way.
    pub(super) fn open(&self) -> Vec<Arc<Ongoing>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|ongoing| ongoing.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }
}

/// A forwarded request on its way.
pub(in crate::proxy) struct Ongoing {
    leave: Arc<Leave>,
    is_over: AtomicBool,
    awaits_body: AtomicBool,
    stirred_at: AtomicI64,
    wait: Wait,
    quiet: Mutex<Quiet>,
    /// Whether an answer was waited for long enough.
    is_given_up: AtomicBool,
}

impl Ongoing {
    /// The leave that it was forwarded with.
    pub(super) fn leave(&self) -> &Leave {
        &self.leave
    }

    /// It must go on no longer.
    pub(in crate::proxy) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether it must go on no longer.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Returns once its upstream was silent for too long, where the edge sees to that.
    pub(in crate::proxy) async fn silence(&self) {
        let _waiting = Waiting::for_upstream(&self.wait);
        poll_fn(|task| {
            self.wait.register(task.waker());
            if self.is_given_up.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Gives its upstream up if that was silent for too long, by looks that are [`super::REVIEW`] apart.
    pub(super) fn listen(&self) {
        let so_far = self.quiet.lock().unwrap_or_else(PoisonError::into_inner).look(self.wait.since());
        if self.leave.longest_silence().is_some_and(|longest| so_far >= longest) {
            self.is_given_up.store(true, Ordering::Release);
            self.wait.wake();
        }
    }

    /// Notes a piece of the request's body.
    pub(in crate::proxy) fn body_arrived(&self, is_last: bool, now: Timestamp) {
        self.stirred_at.store(now.unix_millis(), Ordering::Relaxed);
        if is_last {
            self.awaits_body.store(false, Ordering::Relaxed);
        }
    }

    /// Whether its body was begun and is not going on.
    pub(super) fn has_stalled(&self, now: Timestamp) -> bool {
        let stirred_at = Timestamp::from_unix_millis(self.stirred_at.load(Ordering::Relaxed));
        self.awaits_body.load(Ordering::Relaxed) && now >= stirred_at.plus(SILENCE)
    }
}

/// For as long as it is there, an upstream is waited for.
struct Waiting<'a>(&'a Wait);

impl<'a> Waiting<'a> {
    fn for_upstream(wait: &'a Wait) -> Self {
        wait.begins();
        Self(wait)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.ends();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_when_all_that_came_is_done_with() {
        let streams = Streams::default();
        assert_eq!(streams.idle_since(), Some(0));
        let (first, second) = (streams.header_arrived(), streams.header_arrived());
        drop(first);
        assert_eq!(streams.idle_since(), None);
        drop(second);
        assert_eq!(streams.idle_since(), Some(2));
        drop(streams.header_arrived());
        assert_eq!(streams.idle_since(), Some(3), "between two looks there was another");
    }
}
