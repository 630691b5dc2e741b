//! The messages for whoever writes something other than a page: mails, and texts to a phone.

use std::sync::Arc;

use minijinja::Environment;

use super::catalogue::{Catalogue, Piece, pieces};
use super::{Error, Language, functions};
use crate::clock::Timestamp;

/// Every message in every language.
#[derive(Clone, Debug)]
pub struct Messages(pub(super) Arc<Catalogue>);

impl Messages {
    /// Those that are compiled in.
    ///
    /// # Errors
    /// When they do not parse, which the tests rule out.
    pub fn built_in() -> Result<Self, Error> {
        Ok(Self(Arc::new(Catalogue::embedded()?)))
    }

    /// The message of `key` as plain text, with its values.
    pub fn say(&self, language: Language, key: &str, values: &[(&str, &str)]) -> String {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        pieces(self.0.message(language, key, None)).into_iter().fold(String::new(), |text, piece| match piece {
            Piece::Text(said) => text + said,
            Piece::Placeholder(name) => text + value(name),
        })
    }

    /// A moment as a mail has it: the time of day and its zone, with the day where that is not the one of `asked_at`.
    pub fn moment(&self, language: Language, moment: Timestamp, asked_at: Timestamp) -> String {
        let time = clock_time(moment);
        match self.day(language, moment, asked_at) {
            Some(day) => self.say(language, "mail.time_on", &[("time", &time), ("day", &day)]),
            None => self.say(language, "mail.time", &[("time", &time)]),
        }
    }

    /// The day of a moment, like "2 January", where that is not the day of `asked_at`.
    pub fn day(&self, language: Language, moment: Timestamp, asked_at: Timestamp) -> Option<String> {
        let (written, asked) = (moment.to_string(), asked_at.to_string());
        let (date, _) = written.split_once('T')?;
        if asked.starts_with(date) {
            return None;
        }
        let mut parts = date.rsplit('-').map(|part| part.trim_start_matches('0'));
        let (day, month) = (parts.next()?, parts.next()?);
        let month = self.say(language, &format!("date.month.{month}"), &[]);
        Some(self.say(language, "date.day", &[("day", day), ("month", &month)]))
    }

    /// Lets the templates of `environment` call `t` and its companions; `lang` is the tag of their language.
    pub fn add_to(&self, environment: &mut Environment<'static>) {
        functions::add_to(environment, &self.0);
    }
}

/// The time of day in UTC.
pub(super) fn clock_time(moment: Timestamp) -> String {
    let written = moment.to_string();
    written.split_once('T').and_then(|(_, time)| time.get(..5)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_has_its_zone_and_its_day() {
        let messages = Messages::built_in().expect("the messages are well formed");
        let asked_at = Timestamp::from_unix_seconds(1_767_262_830);
        let check = |language: Language, hours: u64, expected: &str| {
            let moment = asked_at.plus(Duration::from_secs(hours * 3600));
            assert_eq!(messages.moment(language, moment, asked_at), expected);
        };
        check(Language::English, 1, "11:20 (UTC)");
        check(Language::English, 24, "10:20 (UTC) on 2 January");
        check(Language::German, 24, "10:20 Uhr (UTC) am 2. Januar");
        check(Language::French, 24, "10:20 (UTC) le 2 janvier");
        check(Language::Spanish, 24, "10:20 (UTC) del 2 de enero");
        check(Language::Hebrew, 24, "10:20 (UTC) ב־2 בינואר");
        check(Language::English, 24 * 303, "10:20 (UTC) on 31 October");
    }
}
