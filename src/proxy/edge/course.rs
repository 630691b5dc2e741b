//! What an HTTP/1 connection is doing, as those who work on it note it for the one who watches over it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::remembered::Memory;
use super::silence::Wait;
use crate::proxy::leave::Leave;

/// What an HTTP/1 connection is doing, as its requests note it. Whoever watches looks now and then, so that a note wakes
/// nobody; only one who looks seldom, because nothing is under way, is woken.
#[derive(Default)]
pub(super) struct Course {
    noted: Mutex<Noted>,
    wake: Notify,
    memory: Memory,
    wait: Wait,
    /// Whether what comes ahead of HTTP is over.
    is_open: AtomicBool,
    /// Whether an answer was waited for long enough. Changed under the lock of `noted`, so that it is about one request.
    is_given_up: AtomicBool,
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("waiting_since", &self.wait.since()).finish_non_exhaustive()
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

    /// Notes that what comes ahead of HTTP is over, in HTTP/2 too.
    pub(super) fn opened(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
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

    /// When it is waited for the upstream.
    pub(super) const fn wait(&self) -> &Wait {
        &self.wait
    }

    /// Gives the request of the note `number` up.
    pub(super) fn give_up(&self, number: u64) {
        let noted = lock(&self.noted);
        if noted.number == number {
            self.is_given_up.store(true, Ordering::Release);
            self.wait.wake();
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
