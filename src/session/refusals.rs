//! Why requests of a session were refused lately: a few of them, in memory only, for the debug page.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// So many are kept for a session.
const MOST: usize = 5;
/// So many characters of an address are kept.
const LONGEST: usize = 200;

/// A request that the rules refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When it was.
    pub at: Timestamp,
    /// Host and path; a query may hold secrets.
    pub address: String,
    /// The word for it in logs and metrics.
    pub verdict: &'static str,
    /// What the rules have against the visitor, by its stable name.
    pub reason: &'static str,
    /// The name of the request in every log.
    pub request_id: String,
}

/// The last ones of a session.
#[derive(Default)]
pub struct Refusals(Mutex<VecDeque<Refused>>);

impl Refusals {
    /// Notes one more; the oldest goes.
    pub fn note(&self, mut refused: Refused) {
        if let Some((end, _)) = refused.address.char_indices().nth(LONGEST) {
            refused.address.truncate(end);
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_front(refused);
        known.truncate(MOST);
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> Vec<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_kept_and_long_addresses_are_cut() {
        let refusals = Refusals::default();
        for second in 0..9 {
            refusals.note(Refused {
                at: Timestamp::from_unix_seconds(second),
                address: "é".repeat(300),
                verdict: "no_access",
                reason: "denied",
                request_id: String::new(),
            });
        }
        let kept = refusals.newest_first();
        assert_eq!(kept.iter().map(|refused| refused.at.unix_seconds()).collect::<Vec<_>>(), [8, 7, 6, 5, 4]);
        assert!(kept.iter().all(|refused| refused.address.chars().count() == LONGEST));
    }
}
