//! How long an upstream has said nothing, found out by looking now and then.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::REVIEW;

/// Waiting for an upstream, as who does it notes it for who looks.
#[derive(Default)]
pub(super) struct Wait {
    /// Counts how often there was something to do. It is odd while there is nothing but to wait for the upstream, or for
    /// the visitor to give up.
    changes: AtomicU64,
    waiting: AtomicWaker,
}

impl Wait {
    /// Notes that there is something to do.
    pub(super) fn ends(&self) {
        // One task does both, and no other does.
        self.changes.store((self.changes.load(Ordering::Relaxed) | 1) + 1, Ordering::Relaxed);
    }

    /// Notes that there is nothing to do before the upstream or the visitor does something.
    pub(super) fn begins(&self) {
        self.changes.store((self.changes.load(Ordering::Relaxed) | 1) + 2, Ordering::Relaxed);
    }

    /// `waker` is woken when it has taken too long.
    pub(super) fn register(&self, waker: &Waker) {
        self.waiting.register(waker);
    }

    /// How often there was something to do so far, if it is waited since.
    pub(super) fn since(&self) -> Option<u64> {
        Some(self.changes.load(Ordering::Relaxed)).filter(|changes| changes % 2 == 1)
    }

    /// Wakes who waits.
    pub(super) fn wake(&self) {
        self.waiting.wake();
    }
}

/// How long nothing has happened on a connection, by looks at it that are [`REVIEW`] apart.
#[derive(Default)]
pub(super) struct Quiet {
    since: Option<u64>,
    so_far: Duration,
}

impl Quiet {
    pub(super) fn look(&mut self, waiting_since: Option<u64>) -> Duration {
        let goes_on = waiting_since.is_some() && waiting_since == self.since;
        self.so_far = if goes_on { self.so_far + REVIEW } else { Duration::ZERO };
        self.since = waiting_since;
        self.so_far
    }
}

/// Why an upstream is waited for no longer: there is no answer to come.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the upstream was silent for too long")]
pub(in crate::proxy) struct Silence;

impl Silence {
    /// Whether it is why a request ended.
    pub(in crate::proxy) fn is_behind(error: &pingora::Error) -> bool {
        let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.and_then(|cause| cause.downcast_ref::<Self>()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_for_the_upstream_is_silence() {
        let (wait, mut quiet) = (Wait::default(), Quiet::default());
        assert_eq!(quiet.look(wait.since()), Duration::ZERO, "nobody waits yet");
        wait.ends();
        assert_eq!(quiet.look(wait.since()), Duration::ZERO);
        assert_eq!(quiet.look(wait.since()), Duration::ZERO, "what is written is waited for");
        wait.begins();
        assert_eq!(quiet.look(wait.since()), Duration::ZERO);
        assert_eq!(quiet.look(wait.since()), REVIEW);
        assert_eq!(quiet.look(wait.since()), 2 * REVIEW);
        wait.ends();
        wait.begins();
        assert_eq!(quiet.look(wait.since()), Duration::ZERO, "something came");
        assert_eq!(quiet.look(wait.since()), REVIEW);
    }
}
