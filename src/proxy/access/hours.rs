//! Times of the week at which a rule holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::{TimeZone, Timestamp, Weekday};

/// `hours`: from one time of the day to another, on some days of the week, as clocks in a time zone show them.
///
/// A time that the clocks show twice, when they are put back, counts both times; one that they skip never comes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The days on which the hours begin; every day where there are none.
    #[serde(default)]
    pub days: Vec<Weekday>,
    /// When they begin.
    #[serde(default = "midnight")]
    pub from: TimeOfDay,
    /// When they end, which is no more a part of them: on the next day, where it is not after the beginning.
    #[serde(default = "end_of_day")]
    pub to: TimeOfDay,
    /// Whose clocks are meant.
    pub zone: TimeZone,
}

const fn midnight() -> TimeOfDay {
    TimeOfDay(0)
}

const fn end_of_day() -> TimeOfDay {
    TimeOfDay(DAY)
}

impl Hours {
    /// Whether `moment` is within them.
    pub fn contain(&self, moment: Timestamp) -> bool {
        let local = self.zone.local(moment);
        let (from, to) = (self.from.0, self.to.0);
        let is_on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if from < to {
            return is_on(local.weekday) && (from..to).contains(&local.minute);
        }
        (is_on(local.weekday) && local.minute >= from) || (is_on(local.weekday.previous()) && local.minute < to)
    }
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A time of the day in minutes since midnight: `"08:30"`; `"24:00"` is its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str, most: u16| {
            let is_plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|number| is_plain && *number <= most)
        };
        let time = number(hour, 24)? * 60 + number(minute, 59)?;
        (time <= DAY).then_some(Self(time))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = BadTimeOfDay;

    fn try_from(text: String) -> Result<Self, BadTimeOfDay> {
        Self::parse(&text).ok_or(BadTimeOfDay)
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Not hours and minutes, two digits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of the day from \"00:00\" to \"24:00\"")]
pub struct BadTimeOfDay;

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 4 May 2026, at midnight UTC.
    const MONDAY: i64 = 1_777_852_800;

    fn at(day: i64, hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_unix_seconds(MONDAY + day * 86_400 + hour * 3_600 + minute * 60)
    }

    fn hours(text: &str) -> Hours {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn hours_have_days_a_beginning_and_an_end() {
        let office = hours("days = ['mon', 'fri']\nfrom = '08:00'\nto = '17:30'\nzone = 'UTC'");
        let check = |day, hour, minute, expected: bool| {
            assert_eq!(office.contain(at(day, hour, minute)), expected, "{day} {hour}:{minute}");
        };
        check(0, 7, 59, false);
        check(0, 8, 0, true);
        check(0, 17, 29, true);
        check(0, 17, 30, false);
        check(1, 12, 0, false);
        check(4, 12, 0, true);
        check(7, 12, 0, true);
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let night = hours("days = ['fri']\nfrom = '22:00'\nto = '06:00'\nzone = 'UTC'");
        let check = |day, hour, expected: bool| assert_eq!(night.contain(at(day, hour, 0)), expected, "{day} {hour}");
        check(4, 21, false);
        check(4, 22, true);
        check(5, 5, true);
        check(5, 6, false);
        check(5, 22, false);
        check(4, 5, false);
    }

    #[test]
    fn what_is_left_out_is_every_day_and_all_of_the_day() {
        let weekend = hours("days = ['sat', 'sun']\nzone = 'UTC'");
        let found: Vec<i64> = (0..7).filter(|day| weekend.contain(at(*day, 0, 0))).collect();
        assert_eq!(found, [5, 6]);
        assert!(weekend.contain(at(6, 23, 59)));
        let mornings = hours("to = '12:00'\nzone = 'UTC'");
        assert!((0..7).all(|day| mornings.contain(at(day, 11, 59)) && !mornings.contain(at(day, 12, 0))));
    }

    #[test]
    fn hours_follow_the_clock_on_the_wall() {
        // 25 October 2026, when 02:00 to 03:00 comes twice in Berlin.
        let night = hours("from = '02:00'\nto = '03:00'\nzone = 'Europe/Berlin'");
        let berlin = |minutes: i64| Timestamp::from_unix_seconds(1_792_886_400 + minutes * 60);
        let found: Vec<i64> =
            (0..6).map(|half_hour| half_hour * 30).filter(|minutes| night.contain(berlin(*minutes))).collect();
        assert_eq!(found, [0, 30, 60, 90]);
    }

    #[test]
    fn times_of_the_day_are_hours_and_minutes() {
        for text in ["00:00", "08:30", "23:59", "24:00"] {
            assert_eq!(TimeOfDay::try_from(text.to_owned()).map(String::from), Ok(text.to_owned()));
        }
        for wrong in ["", "8:30", "08:60", "24:01", "25:00", "08", "08:30:00", "+8:30", "08.30", "8pm"] {
            assert_eq!(TimeOfDay::try_from(wrong.to_owned()), Err(BadTimeOfDay), "{wrong:?}");
        }
    }
}
