//! What an HTTP/1 connection is doing, as those who work on it note it for the one who watches over it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use std::{fmt, io, mem};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::REVIEW;
use super::remembered::Memory;
use crate::proxy::leave::Leave;

/// What an HTTP/1 connection is doing, as its requests note it. Whoever watches looks now and then, so that a note wakes
/// nobody; only one who looks seldom, because nothing is under way, is woken.
#[derive(Default)]
pub(super) struct Course {
    noted: Mutex<Noted>,
    wake: Notify,
    memory: Memory,
    /// Counts how often the connection was turned to. It is odd while there is nothing to do but to wait for the
    /// upstream, or for the visitor to give up.
    turns: AtomicU64,
    /// Whether an answer was waited for long enough. Changed under the lock of `noted`, so that it is about one request.
    is_given_up: AtomicBool,
    waiting: AtomicWaker,
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("turns", &self.turns).finish_non_exhaustive()
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

/// Why a visitor is listened to no longer: there is no answer to come.
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

#[derive(Default)]
struct Noted {
    phase: Phase,
    /// Counts the notes.
    number: u64,
    /// Whether nobody looks for a long time.
    is_unwatched: bool,
}

/// What an HTTP/1 connection is doing.
#[derive(Clone, Default)]
pub(super) enum Phase {
    /// A request header is awaited: the first one, or one that has begun to arrive.
    #[default]
    Opened,
    /// A request is answered.
    Busy,
    /// A request is answered by an upstream, for as long as its visitor may pass.
    Forwarded(Arc<Leave>),
    /// A further request may come.
    Idle,
    /// None may any more.
    Closed,
}

impl Course {
    pub(super) fn note(&self, phase: Phase) {
        let mut noted = lock(&self.noted);
        let before = self.begin(&mut noted, phase);
        drop(noted);
        // The end of a leave may end a stream.
        drop(before);
    }

    /// Begins a phase, and gives the one before it.
    fn begin(&self, noted: &mut Noted, phase: Phase) -> Phase {
        noted.number += 1;
        self.is_given_up.store(false, Ordering::Release);
        if mem::take(&mut noted.is_unwatched) {
            self.wake.notify_one();
        }
        mem::replace(&mut noted.phase, phase)
    }

    /// Notes that bytes of the visitor have arrived: after a request, that the next one begins. False where the connection
    /// was idle for too long by then, so that nothing may come of them. HTTP/2, and what comes ahead of HTTP, are never
    /// idle in this sense: they have limits of their own.
    pub(super) fn heard(&self) -> bool {
        let mut noted = lock(&self.noted);
        if matches!(noted.phase, Phase::Idle) {
            self.begin(&mut noted, Phase::Opened);
        }
        !matches!(noted.phase, Phase::Closed)
    }

    /// Closes the connection if nothing was noted since the note `number`.
    pub(super) fn close(&self, number: u64) -> bool {
        let mut noted = lock(&self.noted);
        if noted.number != number {
            return false;
        }
        noted.phase = Phase::Closed;
        true
    }

    /// What is remembered of its requests.
    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Notes that the connection is turned to.
    pub(super) fn turned_to(&self) {
        // Its task is the only one that does.
        self.turns.store((self.turns.load(Ordering::Relaxed) | 1) + 1, Ordering::Relaxed);
    }

    /// Notes that there is nothing to do before the upstream or the visitor does something; `waker` is woken when that has
    /// taken too long.
    pub(super) fn waits(&self, waker: &Waker) {
        self.waiting.register(waker);
        self.turns.store((self.turns.load(Ordering::Relaxed) | 1) + 2, Ordering::Relaxed);
    }

    /// How often it was turned to so far, if it is waiting since.
    pub(super) fn waiting_since(&self) -> Option<u64> {
        Some(self.turns.load(Ordering::Relaxed)).filter(|turns| turns % 2 == 1)
    }

    /// Gives the request of the note `number` up.
    pub(super) fn give_up(&self, number: u64) {
        let noted = lock(&self.noted);
        if noted.number == number {
            self.is_given_up.store(true, Ordering::Release);
            self.waiting.wake();
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// The phase, and the number of its note.
    pub(super) fn look(&self) -> (Phase, u64) {
        let noted = lock(&self.noted);
        (noted.phase.clone(), noted.number)
    }

    /// Waits for `time`, or until another phase than that of the note `number` begins.
    pub(super) async fn doze(&self, number: u64, time: Duration) {
        {
            let mut noted = lock(&self.noted);
            if noted.number != number {
                return;
            }
            noted.is_unwatched = true;
        }
        timeout(time, self.wake.notified()).await.ok();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_for_the_upstream_is_silence() {
        let (course, waker) = (Course::default(), Waker::noop());
        let mut quiet = Quiet::default();
        assert_eq!(quiet.look(course.waiting_since()), Duration::ZERO, "nobody waits yet");
        course.turned_to();
        assert_eq!(quiet.look(course.waiting_since()), Duration::ZERO);
        assert_eq!(quiet.look(course.waiting_since()), Duration::ZERO, "what is written is waited for");
        course.waits(waker);
        assert_eq!(quiet.look(course.waiting_since()), Duration::ZERO);
        assert_eq!(quiet.look(course.waiting_since()), REVIEW);
        assert_eq!(quiet.look(course.waiting_since()), 2 * REVIEW);
        course.turned_to();
        course.waits(waker);
        assert_eq!(quiet.look(course.waiting_since()), Duration::ZERO, "something came");
        assert_eq!(quiet.look(course.waiting_since()), REVIEW);
    }

    #[test]
    fn only_the_request_that_was_waited_for_is_given_up() {
        let course = Course::default();
        course.note(Phase::Busy);
        let (_, number) = course.look();
        course.give_up(number);
        assert!(course.is_given_up());
        course.note(Phase::Idle);
        assert!(!course.is_given_up());
        course.give_up(number);
        assert!(!course.is_given_up(), "the next request is another");
    }

    #[test]
    fn what_arrives_in_time_is_a_request_and_nothing_after_that() {
        let course = Course::default();
        course.note(Phase::Idle);
        let (_, number) = course.look();
        assert!(course.heard());
        assert!(!course.close(number), "a header has begun to arrive");
        course.note(Phase::Idle);
        let (_, number) = course.look();
        assert!(course.close(number));
        assert!(!course.heard());
    }
}
