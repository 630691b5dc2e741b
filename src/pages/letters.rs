//! Mails that are no sign-in: what they say, as text and as HTML with the same words and links.
//!
//! What a visitor wrote themselves is in none of them, so that nobody sends others text of their own in our name.

use minijinja::Value;
use serde::Serialize;

use super::{Language, Pages, Reader};
use crate::clock::Timestamp;

/// A mail, written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The language of it: the theme's, because who gets it has not asked for it on a page.
    pub language: Language,
    /// The subject line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The first link, where there is one.
    pub link: Option<String>,
}

/// What an invitation says.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'a> {
    /// The route, by host and path.
    pub route: &'a str,
    /// Where it is opened.
    pub link: &'a str,
    /// When the invited may pass no more.
    pub until: Timestamp,
}

/// What the owners of a route are asked.
#[derive(Clone, Copy, Debug)]
pub struct AccessAsked<'a> {
    /// Who would like to pass.
    pub address: &'a str,
    /// The route, by host and path.
    pub route: &'a str,
    /// When they asked.
    pub at: Timestamp,
    /// Where it is answered: for an hour, for a day, always, not at all.
    pub links: &'a [String; 4],
}

/// What somebody who asked is told, where the answer is not no.
#[derive(Clone, Copy, Debug)]
pub struct AccessAnswered<'a> {
    /// The route, by host and path.
    pub route: &'a str,
    /// The page that they asked for.
    pub link: &'a str,
    /// When they may pass no more; nothing where that does not end by itself.
    pub until: Option<Timestamp>,
}

/// What a notice of a sign-in says.
#[derive(Clone, Copy, Debug)]
pub struct NoticeFacts<'a> {
    /// The browser, by a well-known name or none: a word of a stranger's own could lead somewhere.
    pub browser: &'a str,
    /// The system, where it is known.
    pub system: Option<&'a str>,
    /// The address that it was from.
    pub client: &'a str,
    /// When.
    pub at: Timestamp,
    /// Where users see their sign-ins.
    pub link: &'a str,
}

/// A link, with the words on it.
#[derive(Serialize)]
struct Link<'a> {
    words: String,
    url: &'a str,
}

/// What the template of the HTML part has.
#[derive(Serialize)]
struct Shown<'a> {
    subject: &'a str,
    lines: &'a [String],
    links: &'a [Link<'a>],
    last: &'a [&'a String],
    theme: &'a Value,
}

impl Pages {
    /// The mail to somebody who is invited.
    pub fn invitation(&self, Invitation { route, link, until }: Invitation<'_>) -> Letter {
        let values = self.values(&[("route", route), ("until", &moment(until))]);
        let say = |key: &str| self.say(key, &values);
        let links = [Link { words: say("letter.invitation_link"), url: link }];
        self.letter(
            say("letter.invitation"),
            &[say("letter.invitation_until"), say("letter.invitation_sign_in")],
            &links,
            &[say("letter.ignore")],
        )
    }

    /// The mail to an owner of a route for which somebody asks.
    pub fn access_asked(&self, AccessAsked { address, route, at, links }: AccessAsked<'_>) -> Letter {
        let values = self.values(&[("address", address), ("route", route), ("time", &moment(at))]);
        let say = |key: &str| self.say(key, &values);
        let words = ["letter.access_hour", "letter.access_day", "letter.access_always", "letter.access_no"];
        let links: Vec<Link<'_>> =
            words.iter().zip(links).map(|(words, url)| Link { words: say(words), url }).collect();
        self.letter(
            say("letter.access_asked"),
            &[say("letter.access_asked_who"), say("letter.access_asked_how")],
            &links,
            &[say("letter.access_asked_else")],
        )
    }

    /// The mail to somebody whom an owner lets in.
    pub fn access_given(&self, AccessAnswered { route, link, until }: AccessAnswered<'_>) -> Letter {
        let until = until.map(moment);
        let values = self.values(&[("route", route), ("until", until.as_deref().unwrap_or_default())]);
        let line = if until.is_some() { "letter.access_given_until" } else { "letter.access_given_always" };
        let links = [Link { words: self.say("letter.invitation_link", &values), url: link }];
        self.letter(self.say("letter.access_given", &values), &[self.say(line, &values)], &links, &[])
    }

    /// The mail to somebody whom an owner does not let in.
    pub fn access_refused(&self, route: &str) -> Letter {
        let values = self.values(&[("route", route)]);
        self.letter(
            self.say("letter.access_refused", &values),
            &[self.say("letter.access_refused_text", &values)],
            &[],
            &[],
        )
    }

    /// The mail to somebody who signed in by a browser that is new for them.
    pub fn new_browser(&self, NoticeFacts { browser, system, client, at, link }: NoticeFacts<'_>) -> Letter {
        let time = moment(at);
        let system_name = system.unwrap_or_default();
        let values = self.values(&[("browser", browser), ("system", system_name), ("client", client), ("time", &time)]);
        let say = |key: &str| self.say(key, &values);
        let line = match (browser, system) {
            ("", _) => "letter.new_browser_unknown",
            (_, None) => "letter.new_browser_with",
            (_, Some(_)) => "letter.new_browser_with_on",
        };
        let links = [Link { words: say("letter.see_sign_ins"), url: link }];
        self.letter(say("letter.new_browser"), &[say(line), say("letter.new_browser_not_you")], &links, &[])
    }

    /// The mail to somebody who was signed out on all devices.
    pub fn signed_out_everywhere(&self, client: &str, at: Timestamp) -> Letter {
        let values = self.values(&[("client", client), ("time", &moment(at))]);
        let say = |key: &str| self.say(key, &values);
        let lines = [say("letter.signed_out_text"), say("letter.signed_out_not_you")];
        self.letter(say("letter.signed_out"), &lines, &[], &[])
    }

    fn say(&self, key: &str, values: &[(String, String)]) -> String {
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.messages().say(self.default, key, &values)
    }

    fn values(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let usual = [("app", self.app.as_str())];
        usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), one_line(value))).collect()
    }

    fn letter(&self, subject: String, lines: &[String], links: &[Link<'_>], last: &[String]) -> Letter {
        let contact = self.contact.as_ref().map(|contact| {
            let values = self.values(&[("contact", contact.text())]);
            self.say("letter.contact", &values)
        });
        let last: Vec<&String> = last.iter().chain(&contact).collect();
        let reader = Reader { language: self.default, here: None };
        let shown = Shown { subject: &subject, lines, links, last: &last, theme: &self.mail };
        let html = self.render("notice.html", shown, &reader);
        let written = links.iter().map(|link| format!("{}:\n{}", link.words, link.url));
        let parts = [subject.clone()].into_iter().chain(lines.iter().cloned()).chain(written);
        let parts: Vec<String> = parts.chain(last.iter().copied().cloned()).collect();
        let link = links.first().map(|link| link.url.to_owned());
        Letter { language: self.default, subject, text: format!("{}\n", parts.join("\n\n")), html, link }
    }
}

/// Day and time in UTC.
fn moment(moment: Timestamp) -> String {
    let written = moment.to_string();
    match written.split_once('T') {
        Some((day, time)) => format!("{day} {} (UTC)", time.get(..5).unwrap_or(time)),
        None => written,
    }
}

/// It goes into a subject.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::origin::Origin;
    use crate::pages::Theme;

    fn pages() -> Pages {
        let theme = Theme {
            name: Some("Acme <Wiki>\r\nBcc: x".to_owned()),
            contact: Some("help@example.com".to_owned()),
            ..Theme::default()
        };
        let origin = Origin::try_from("https://app.example.com".to_owned()).unwrap();
        Pages::new(&theme, &origin, Path::new("/")).unwrap()
    }

    #[test]
    fn an_invitation_says_the_same_as_text_and_as_html() {
        let (route, link) = ("app.example.com/wiki", "https://app.example.com/wiki");
        let until = Timestamp::from_unix_seconds(1_767_262_830);
        let letter = pages().invitation(Invitation { route, link, until });
        assert_eq!(letter.subject, "You are invited to app.example.com/wiki");
        assert_eq!(letter.link.as_deref(), Some(link));
        for part in [&letter.text, &letter.html] {
            for fact in [route, link, "2026-01-01 10:20 (UTC)", "help@example.com"] {
                assert!(part.contains(fact), "{fact} in {part}");
            }
        }
        assert!(letter.html.starts_with("<!doctype html>") && !letter.html.contains("<Wiki>"), "{}", letter.html);
        assert_eq!(letter.html.matches("href=").count(), 2, "the button and the link as text: {}", letter.html);
    }
}
