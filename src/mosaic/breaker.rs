//! Leaves a part of Mosaic alone while it keeps failing, so that nobody waits for what does not come.
//!
//! One failure to get through, or a second fault in a row, makes it doubtful for a moment, which is for callers who can
//! say no instead of trying; a single fault is one call's bad luck. Several failures in a row open the circuit: calls fail at once, and after a pause one of them at a time is let through. A success closes it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::random_bytes;

/// How many failures in a row open the circuit.
const THRESHOLD: u32 = 3;
/// Failures further apart than this are not in a row.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a failure casts doubt.
const DOUBT: Duration = Duration::from_secs(5);
/// The first pause; it doubles with each trial that fails.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The circuit to one part of Mosaic.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Failures in a row, and when the last of them was.
    failures: u32,
    failed_at: Option<Timestamp>,
    /// Whether the last of them is a reason not to try.
    is_doubtful: bool,
    /// How often in a row the circuit opened; the length of the pause.
    openings: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Timestamp,
    is_on_trial: bool,
}

/// What a failure or a success made of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened,
    /// A trial failed, and the circuit stays open.
    StaysOpen,
    Closed,
}

/// Leave to make one call. When it is dropped unused, the next caller may have a trial's place.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

impl Breaker {
    /// Leave to call now.
    ///
    /// # Errors
    /// With how long to wait, while the circuit is open. That is nothing while a trial is under way.
    pub(super) fn admit(&self, now: Timestamp) -> Result<Turn<'_>, Duration> {
        let mut state = self.state();
        let is_trial = match &mut state.open {
            None => false,
            Some(open) if open.is_paused(now) => return Err(open.until.since(now)),
            Some(open) if open.is_on_trial => return Err(Duration::ZERO),
            Some(open) => {
                open.is_on_trial = true;
                true
            }
        };
        Ok(Turn { breaker: self, is_trial })
    }

    /// Whether a call now may well succeed: no doubt a moment ago, and no pause or trial under way.
    pub(super) fn is_promising(&self, now: Timestamp) -> bool {
        let state = self.state();
        match &state.open {
            Some(open) => !open.is_paused(now) && !open.is_on_trial,
            // A clock that was set back must not prolong the wait.
            None if !state.is_doubtful => true,
            None => state.failed_at.is_none_or(|failed_at| now < failed_at || now.since(failed_at) >= DOUBT),
        }
    }

    /// Whether calls are held back, or one is on trial.
    pub(super) fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// Ends the pause, for somebody who comes at a slow pace of their own.
    pub(super) fn hasten(&self, now: Timestamp) {
        if let Some(open) = &mut self.state().open {
            open.until = now;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Whether the circuit is open and this call finds out if that still has a reason.
    pub(super) const fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// The call worked.
    pub(super) fn succeed(self) -> Change {
        let was_open = std::mem::take(&mut *self.breaker.state()).open.is_some();
        if was_open { Change::Closed } else { Change::None }
    }

    /// Something else than the call itself spoke for Mosaic: it may be called, and the first failure opens the circuit
    /// again.
    pub(super) fn succeed_on_probation(self, now: Timestamp) -> Change {
        let mut state = self.breaker.state();
        state.failures = THRESHOLD - 1;
        state.failed_at = Some(now.minus(DOUBT));
        if state.open.take().is_some() { Change::Closed } else { Change::None }
    }

    /// The call failed for a reason that lies with Mosaic or the way there; `got_through` where Mosaic did answer.
    pub(super) fn fail(self, now: Timestamp, got_through: bool) -> Change {
        let mut state = self.breaker.state();
        let is_in_row = state.failed_at.is_some_and(|failed_at| now.since(failed_at) < WINDOW);
        state.failures = if is_in_row { state.failures.saturating_add(1) } else { 1 };
        state.failed_at = Some(now);
        state.is_doubtful = !got_through || state.failures > 1;
        match &state.open {
            // A call that began before the circuit opened has nothing new to tell.
            Some(_) if !self.is_trial => return Change::None,
            None if state.failures < THRESHOLD => return Change::None,
            _ => {}
        }
        let change = if state.open.is_some() { Change::StaysOpen } else { Change::Opened };
        let pause = jittered((PAUSE * 2_u32.pow(state.openings.min(8))).min(LONGEST_PAUSE));
        state.openings = state.openings.saturating_add(1);
        state.open = Some(Open { until: now.plus(pause), is_on_trial: false });
        change
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_trial
            && let Some(open) = &mut self.breaker.state().open
        {
            open.is_on_trial = false;
        }
    }
}

impl Open {
    /// A clock that was set back must not prolong the pause.
    fn is_paused(&self, now: Timestamp) -> bool {
        now < self.until && self.until.since(now) <= LONGEST_PAUSE
    }
}

/// A random time between half of `pause` and all of it, so that the calls of many gateways do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let [part] = random_bytes::<1>();
    pause.mul_f64(0.5 + f64::from(part) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn fail(breaker: &Breaker, seconds: i64) -> Change {
        breaker.admit(at(seconds)).expect("the call is let through").fail(at(seconds), false)
    }

    fn opened_at(seconds: i64) -> Breaker {
        let breaker = Breaker::default();
        assert_eq!([1, 2, 3].map(|_| fail(&breaker, seconds)), [Change::None, Change::None, Change::Opened]);
        breaker
    }

    #[test]
    fn a_failure_to_get_through_casts_doubt_for_five_seconds_or_until_a_success_and_holds_nobody_back() {
        let breaker = Breaker::default();
        assert!(breaker.is_promising(at(100)));
        assert_eq!(fail(&breaker, 100), Change::None);
        assert!(!breaker.is_promising(at(100)) && !breaker.is_promising(at(104)));
        assert!(breaker.is_promising(at(105)));
        assert!(breaker.is_promising(at(99)), "the clock was set back");
        assert_eq!(breaker.admit(at(101)).unwrap().succeed(), Change::None);
        assert!(breaker.is_promising(at(101)));
    }

    #[test]
    fn a_fault_casts_doubt_when_it_is_the_second_in_a_row() {
        let breaker = Breaker::default();
        let fault = |seconds| breaker.admit(at(seconds)).unwrap().fail(at(seconds), true);
        fault(100);
        assert!(breaker.is_promising(at(100)));
        fault(102);
        assert!(!breaker.is_promising(at(102)) && breaker.is_promising(at(107)));
        breaker.admit(at(108)).unwrap().succeed();
        fault(109);
        assert!(breaker.is_promising(at(109)));
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_others_do_not() {
        opened_at(100);
        let breaker = Breaker::default();
        for seconds in [0, 30, 100, 130, 190, 250] {
            assert_eq!(fail(&breaker, seconds), Change::None, "at {seconds}");
        }
        let breaker = Breaker::default();
        for seconds in 0..10 {
            fail(&breaker, seconds);
            fail(&breaker, seconds);
            assert_eq!(breaker.admit(at(seconds)).unwrap().succeed(), Change::None);
        }
    }

    #[test]
    fn an_open_one_holds_back_and_then_lets_one_through_at_a_time() {
        let breaker = opened_at(100);
        let left = breaker.admit(at(100)).unwrap_err();
        assert!((Duration::from_millis(2500)..=PAUSE).contains(&left), "{left:?}");
        assert!(!breaker.is_promising(at(100)) && breaker.is_promising(at(105)));
        let trial = breaker.admit(at(105)).unwrap();
        assert_eq!(breaker.admit(at(105)).unwrap_err(), Duration::ZERO);
        assert!(trial.is_trial() && !breaker.is_promising(at(105)));
        drop(trial);
        let trial = breaker.admit(at(105)).expect("the place of one who left is free");
        assert_eq!(trial.succeed(), Change::Closed);
        assert!(breaker.is_promising(at(105)));
        assert!(!breaker.admit(at(105)).unwrap().is_trial());
    }

    #[test]
    fn pauses_grow_with_each_trial_that_fails_to_half_a_minute() {
        let breaker = opened_at(0);
        let mut now = at(0);
        for longest in [5, 10, 20, 30, 30, 30] {
            let left = breaker.admit(now).unwrap_err();
            let longest = Duration::from_secs(longest);
            assert!((longest / 2..=longest).contains(&left), "{left:?} of {longest:?}");
            now = now.plus(left);
            assert_eq!(breaker.admit(now).unwrap().fail(now, false), Change::StaysOpen);
        }
        now = now.plus(LONGEST_PAUSE);
        assert_eq!(breaker.admit(now).unwrap().succeed(), Change::Closed);
        for _ in 0..THRESHOLD {
            breaker.admit(now).unwrap().fail(now, false);
        }
        assert!(breaker.admit(now).unwrap_err() <= PAUSE, "a success makes the next pause short again");
    }

    #[test]
    fn calls_that_began_before_it_opened_change_nothing_by_failing_and_close_it_by_working() {
        let breaker = Breaker::default();
        let early = [(); 5].map(|()| breaker.admit(at(0)).unwrap());
        let changes = early.map(|turn| turn.fail(at(1), false));
        assert_eq!(changes, [Change::None, Change::None, Change::Opened, Change::None, Change::None]);
        let breaker = Breaker::default();
        let early = breaker.admit(at(0)).unwrap();
        for _ in 0..THRESHOLD {
            fail(&breaker, 0);
        }
        assert_eq!(early.succeed(), Change::Closed);
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_no_pause() {
        assert!(opened_at(100).admit(at(50)).is_ok());
    }

    #[test]
    fn one_on_probation_is_called_and_opens_at_the_first_failure() {
        let breaker = opened_at(0);
        assert_eq!(breaker.admit(at(5)).unwrap().succeed_on_probation(at(5)), Change::Closed);
        assert!(breaker.is_promising(at(5)));
        assert_eq!(fail(&breaker, 6), Change::Opened);
        assert!(breaker.admit(at(6)).unwrap_err() >= PAUSE, "the second pause in a row");
    }

    #[test]
    fn one_can_be_hastened() {
        let breaker = opened_at(0);
        breaker.hasten(at(0));
        assert!(breaker.admit(at(0)).unwrap().is_trial());
    }
}
