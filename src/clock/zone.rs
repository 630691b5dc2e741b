//! Local time: which day and minute a moment is in a time zone of the IANA database.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A time zone by its name, like `Europe/Berlin`, with its changes to and from daylight-saving time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone {
    name: String,
    zone: jiff::tz::TimeZone,
}

impl TimeZone {
    /// What clocks on the wall show there at `moment`.
    pub fn local(&self, moment: Timestamp) -> LocalTime {
        // A moment beyond what the calendar reaches stands at its end.
        let moment = jiff::Timestamp::from_millisecond(moment.unix_millis()).unwrap_or(jiff::Timestamp::MAX);
        let shown = self.zone.to_datetime(moment);
        let [hour, minute] = [shown.hour(), shown.minute()].map(i8::unsigned_abs).map(u16::from);
        LocalTime { weekday: shown.weekday().into(), minute: hour * 60 + minute }
    }
}

impl TryFrom<String> for TimeZone {
    type Error = BadTimeZone;

    fn try_from(name: String) -> Result<Self, BadTimeZone> {
        match jiff::tz::TimeZone::get(&name) {
            Ok(zone) if !zone.is_unknown() => Ok(Self { name, zone }),
            _ => Err(BadTimeZone),
        }
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.name
    }
}

/// Not a time zone that this machine or linkgate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a time zone, like \"Europe/Berlin\" or \"UTC\"")]
pub struct BadTimeZone;

/// A time of a day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The day.
    pub weekday: Weekday,
    /// Minutes since midnight, as the clock on the wall counts them.
    pub minute: u16,
}

/// A day of the week, by the first letters of its name: `"mon"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    /// Monday first.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// The day before.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self::ALL[(self as usize + 6) % 7]
    }
}

impl From<jiff::civil::Weekday> for Weekday {
    fn from(day: jiff::civil::Weekday) -> Self {
        Self::ALL[usize::from(day.to_monday_zero_offset().unsigned_abs()) % 7]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::try_from(name.to_owned()).unwrap()
    }

    fn local(name: &str, moment: &str) -> (Weekday, u16) {
        let moment: jiff::Timestamp = moment.parse().unwrap();
        let LocalTime { weekday, minute } = zone(name).local(Timestamp::from_unix_seconds(moment.as_second()));
        (weekday, minute)
    }

    #[test]
    fn clocks_on_the_wall_are_put_forward_and_back() {
        assert_eq!(local("UTC", "2026-05-04T10:20:59Z"), (Weekday::Mon, 620));
        assert_eq!(local("Asia/Kolkata", "2026-05-03T18:30:00Z"), (Weekday::Mon, 0));
        assert_eq!(local("America/New_York", "2026-05-04T03:59:00Z"), (Weekday::Sun, 1439));
        // On 29 March 2026 clocks in Berlin went from 01:59 to 03:00, on 25 October from 02:59 back to 02:00.
        assert_eq!(local("Europe/Berlin", "2026-03-29T00:59:00Z"), (Weekday::Sun, 119));
        assert_eq!(local("Europe/Berlin", "2026-03-29T01:00:00Z"), (Weekday::Sun, 180));
        assert_eq!(local("Europe/Berlin", "2026-10-25T00:30:00Z"), (Weekday::Sun, 150));
        assert_eq!(local("Europe/Berlin", "2026-10-25T01:30:00Z"), (Weekday::Sun, 150));
        assert_eq!(zone("UTC").local(Timestamp::NEVER).minute, 1320, "the end of the calendar is a time too");
    }

    #[test]
    fn names_of_time_zones_are_those_of_the_database() {
        for wrong in ["", "Berlin", "Europe/Bonn", "Etc/Unknown", "CET-1CEST", "+01:00", "../UTC", "/etc/localtime"] {
            assert_eq!(TimeZone::try_from(wrong.to_owned()), Err(BadTimeZone), "{wrong:?}");
        }
        assert_eq!(String::from(zone("Europe/Berlin")), "Europe/Berlin");
    }

    #[test]
    fn before_monday_comes_sunday() {
        assert_eq!(Weekday::Mon.previous(), Weekday::Sun);
        assert_eq!(Weekday::Sun.previous(), Weekday::Sat);
    }
}
