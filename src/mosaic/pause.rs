//! Keeps to the pauses that Mosaic asks for with 429, with `Retry-After` and without.
//!
//! A pause is for one kind of call: the limits of different calls are not the same, and a burst of one, like an import
//! of users, must not keep visitors from signing in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::breaker::jittered;
use crate::clock::Timestamp;

/// The first pause where Mosaic names none, at most; it doubles with each further 429. At least it is half as long.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause of our own.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause that Mosaic can ask for.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The pauses of all calls, by their names.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<&'static str, Pause>>);

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Timestamp,
    /// Refusals in a row.
    refusals: u32,
}

impl Pauses {
    /// How long `call` must still wait.
    pub(super) fn left(&self, call: &'static str, now: Timestamp) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(call).and_then(|pause| pause.left(now))
    }

    /// `call` was refused for now.
    pub(super) fn refused(&self, call: &'static str, retry_after: Option<Duration>, now: Timestamp) {
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pauses.get(call).copied();
        // Of the calls that were under way together only the first makes the pause longer.
        let is_known = known.is_some_and(|pause| pause.left(now).is_some());
        let refusals = known.map_or(0, |pause| pause.refusals) + u32::from(!is_known);
        let own = || jittered((FIRST * 2_u32.pow(refusals.saturating_sub(1).min(8))).min(LONGEST));
        let until = now.plus(retry_after.map_or_else(own, |asked| asked.min(LONGEST_ASKED)));
        let until = known.filter(|_| is_known).map_or(until, |pause| pause.until.max(until));
        pauses.insert(call, Pause { until, refusals });
    }

    /// `call` was answered otherwise. What was sent before a pause began does not end it.
    pub(super) fn served(&self, call: &'static str, now: Timestamp) {
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pauses.get(call).is_some_and(|pause| pause.left(now).is_none()) {
            pauses.remove(call);
        }
    }
}

impl Pause {
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.until.since(now);
        // A clock that was set back must not prolong the pause.
        (!left.is_zero() && left <= LONGEST_ASKED).then_some(left)
    }
}

/// Reads a `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. One that is not after `now` asks for nothing.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let asked = match value.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Timestamp::from_http_date(value)?.since(now),
    };
    (!asked.is_zero()).then(|| asked.min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let check = |value: &str, seconds: Option<u64>| {
            assert_eq!(retry_after(value, NOW), seconds.map(Duration::from_secs), "{value}");
        };
        check("17", Some(17));
        check(" 17 ", Some(17));
        check("Fri, 15 Jan 2027 08:01:30 GMT", Some(90));
        check("999999", Some(3600));
        check("Fri, 15 Jan 2038 08:00:00 GMT", Some(3600));
        for nothing in ["", "0", "-1", "1.5", "soon", "99999999999999999999", "Fri, 15 Jan 2027 07:00:00 GMT"] {
            check(nothing, None);
        }
    }

    #[test]
    fn a_pause_is_as_long_as_asked_and_for_one_call() {
        let pauses = Pauses::default();
        pauses.refused("send", Some(Duration::from_secs(20)), NOW);
        assert_eq!(pauses.left("send", NOW), Some(Duration::from_secs(20)));
        assert_eq!(pauses.left("token", NOW), None);
        let later = NOW.plus(Duration::from_secs(19));
        assert_eq!(pauses.left("send", later), Some(Duration::from_secs(1)));
        assert_eq!(pauses.left("send", NOW.plus(Duration::from_secs(20))), None);
        pauses.refused("send", Some(Duration::from_secs(5)), NOW);
        assert_eq!(pauses.left("send", NOW), Some(Duration::from_secs(20)), "a shorter one takes nothing away");
        pauses.refused("send", Some(Duration::MAX), NOW);
        assert_eq!(pauses.left("send", NOW), Some(LONGEST_ASKED));
        assert_eq!(pauses.left("send", NOW.minus(Duration::from_secs(1))), None, "the clock was set back");
    }

    #[test]
    fn pauses_of_our_own_grow_from_a_second_to_sixty_until_an_answer() {
        let pauses = Pauses::default();
        let mut now = NOW;
        for longest in [2, 4, 8, 16, 32, 60, 60] {
            pauses.refused("send", None, now);
            pauses.refused("send", None, now);
            let left = pauses.left("send", now).expect("there is a pause");
            let longest = Duration::from_secs(longest);
            assert!((longest / 2..=longest).contains(&left), "{left:?} of {longest:?}");
            pauses.served("send", now);
            assert_eq!(pauses.left("send", now), Some(left), "an earlier call was answered");
            now = now.plus(left);
        }
        pauses.served("send", now);
        pauses.refused("send", None, now);
        assert!(pauses.left("send", now).is_some_and(|left| left <= FIRST));
    }
}
