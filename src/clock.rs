//! The one door through which time comes in.
//!
//! Parts are handed a [`Clock`] and rules take a [`Timestamp`]; `clippy.toml` bans every other way to
//! read the time, so a test sets the clock and nothing in it sleeps.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod zone;

pub use zone::{BadTimeZone, LocalTime, TimeZone, Weekday};

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
///
/// Arithmetic saturates, so a clock that jumps can never make it panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that never comes: what does not expire, expires then.
    pub const NEVER: Self = Self(i64::MAX);

    /// The moment `milliseconds` after the epoch.
    pub const fn from_unix_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// The moment `seconds` after the epoch, as JWT claims count (RFC 7519 section 2, NumericDate).
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment that an HTTP date names (RFC 9110 section 5.6.7), in the one form that is still made: an RFC 5322 date
    /// in GMT.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let moment = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
        Some(Self(moment.as_millisecond()))
    }

    /// The moment that RFC 3339 writes so: `2026-05-04T10:20:30Z`, or with an offset in place of the `Z`.
    pub fn from_rfc_3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|moment| Self(moment.as_millisecond()))
    }

    /// Milliseconds since the epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// The moment `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, to the second: `2026-05-04T10:20:30Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.unix_seconds()) {
            Ok(moment) => write!(f, "{moment}"),
            Err(_) => f.write_str("never"),
        }
    }
}

/// Tells the time. Cheap to clone; every clone of a manual clock moves together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(millis) => Timestamp(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward. The machine's clock stays as it is.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(millis(span), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, backwards too. The machine's clock stays as it is.
    pub fn set(&self, moment: Timestamp) {
        if let Source::Manual(now) = &self.0 {
            now.store(moment.0, Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
fn system_now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since_epoch.map_or(0, millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_with_all_its_clones() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let clone = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clone.now(), Timestamp::from_unix_seconds(1_005));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::NEVER.plus(Duration::MAX), Timestamp::NEVER);
        let early = Timestamp::from_unix_seconds(1);
        assert_eq!(early.since(Timestamp::from_unix_seconds(2)), Duration::ZERO);
        assert_eq!(Timestamp::from_unix_millis(-1).unix_seconds(), -1);
    }

    #[test]
    fn http_dates_are_read() {
        let read = Timestamp::from_http_date("Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(read.map(|moment| moment.to_string()).as_deref(), Some("2026-10-21T07:28:00Z"));
        for wrong in ["", "17", "yesterday", "Wed, 41 Oct 2026 07:28:00 GMT", "2026-10-21T07:28:00Z"] {
            assert_eq!(Timestamp::from_http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rfc_3339_is_read() {
        let read = |text| Timestamp::from_rfc_3339(text).map(Timestamp::unix_seconds);
        assert_eq!(read("1970-01-01T00:01:00Z"), Some(60));
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Some(0));
        for wrong in ["", "now", "1970-01-01", "1970-01-01T00:01:00", "60"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn is_shown_as_rfc_3339() {
        assert_eq!(Timestamp::from_unix_seconds(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::NEVER.to_string(), "never");
    }
}
