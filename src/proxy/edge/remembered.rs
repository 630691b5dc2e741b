//! What the cookies of a connection's last request came to. A browser sends the same ones with the next.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::GetAll;
use http::{HeaderName, HeaderValue};

use crate::session::Live;

/// What the cookies of a request came to.
pub(in crate::proxy) struct Remembered {
    /// The `Cookie` fields, on the public host. In HTTP/2 browsers write one for each cookie (RFC 9113 section 8.2.3).
    pub(in crate::proxy) cookies: Box<[HeaderValue]>,
    /// The session that they name.
    pub(in crate::proxy) live: Arc<Live>,
    /// What the upstream is told about the visitor.
    pub(in crate::proxy) identity: Box<[(HeaderName, HeaderValue)]>,
    /// Where the visitor is, and how that is written.
    pub(in crate::proxy) client: Option<(IpAddr, HeaderValue)>,
    /// What of the cookies the upstream gets.
    pub(in crate::proxy) others: Option<HeaderValue>,
}

/// What is remembered of a connection's requests: the last of them, as long as they tend to have the same cookies. On
/// connections that a proxy shares among its visitors they do not, and what is remembered in vain costs more than it is
/// worth: the work, and the memory that the request was read into.
#[derive(Default)]
pub(super) struct Memory(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    last: Option<Arc<Remembered>>,
    habit: Habit,
}

impl Memory {
    /// What was remembered of the last request, if it had the same cookies.
    pub(super) fn recall(&self, cookies: &GetAll<'_, HeaderValue>) -> Option<Arc<Remembered>> {
        let mut noted = self.noted();
        noted.last.take_if(|last| !cookies.iter().eq(&last.cookies));
        let known = noted.last.clone()?;
        noted.habit = Habit::default();
        Some(known)
    }

    /// Remembers what `make` gives for the next one, where that may have the same cookies.
    pub(super) fn remember(&self, make: impl FnOnce() -> Remembered) {
        let mut noted = self.noted();
        if noted.habit.is_worth_a_try() {
            noted.last = Some(Arc::new(make()));
        }
    }

    /// Remembers nothing: it holds the memory that the request was read into.
    pub(super) fn forget(&self) {
        self.noted().last.take();
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests in a row had cookies that were not remembered.
#[derive(Default)]
struct Habit(u32);

impl Habit {
    /// At least every so manieth request is remembered: what shares a connection may change.
    const REST: u32 = 64;

    /// Whether to remember one more of them: the first two, and then ever fewer.
    fn is_worth_a_try(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0.is_power_of_two() || self.0.is_multiple_of(Self::REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_fewer_requests_are_remembered_in_vain_but_always_some() {
        let mut habit = Habit::default();
        let tried: Vec<u32> = (1..=200).filter(|_| habit.is_worth_a_try()).collect();
        assert_eq!(tried, [1, 2, 4, 8, 16, 32, 64, 128, 192]);
        habit.0 = u32::MAX - 1;
        assert!(!habit.is_worth_a_try() && !habit.is_worth_a_try(), "and no more of them are counted");
    }
}
