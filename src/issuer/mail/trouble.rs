//! How long a mail server, or a mail, has been in trouble, and when it is tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::random_bytes;

/// The pause before the next try: half of how long there has been trouble, within these.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause when there has been trouble for so long. With jitter, so that instances and mails do not come in step.
pub(super) fn pause(trouble_for: Duration) -> Duration {
    let [jitter] = random_bytes::<1>();
    let percent = 75 + u32::from(jitter) * 50 / 255;
    (trouble_for / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) * percent / 100
}

/// Whether the server takes mail.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<Since>>);

struct Since {
    began: Timestamp,
    due: Timestamp,
}

impl Trouble {
    /// The server did not take a mail; says whether that is new.
    pub(super) fn begin(&self, now: Timestamp) -> bool {
        let mut state = self.lock();
        let began = state.as_ref().map_or(now, |since| since.began);
        state.replace(Since { began, due: now.plus(pause(now.since(began))) }).is_none()
    }

    /// The server took a mail; says whether that is new.
    pub(super) fn end(&self) -> bool {
        self.lock().take().is_some()
    }

    /// Whether there is none.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    /// Whether it is time to try again.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.lock().as_ref().is_none_or(|since| since.due <= now)
    }

    /// Each change is complete by itself, so a task that panicked has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Option<Since>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_the_trouble_from_a_second_to_a_minute() {
        let check = |seconds: u64, expected: u64| {
            let (found, expected) = (pause(Duration::from_secs(seconds)), Duration::from_secs(expected));
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(&found), "{seconds}: {found:?}");
        };
        for (seconds, expected) in [(0, 1), (2, 1), (10, 5), (60, 30), (120, 60), (86_400, 60)] {
            check(seconds, expected);
        }
    }

    #[test]
    fn trouble_begins_once_and_ends_once() {
        let (trouble, now) = (Trouble::default(), Timestamp::from_unix_seconds(1_000));
        assert!(trouble.is_over() && trouble.is_due(now) && !trouble.end());
        assert!(trouble.begin(now) && !trouble.is_due(now));
        let later = now.plus(Duration::from_secs(10));
        assert!(trouble.is_due(later) && !trouble.begin(later));
        assert!(
            !trouble.is_due(later.plus(Duration::from_secs(3))) && trouble.is_due(later.plus(Duration::from_secs(7)))
        );
        assert!(trouble.end() && trouble.is_over());
    }
}
