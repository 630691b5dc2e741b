//! A mail as a message of RFC 5322, with the headers that automatic mail has.

use lettre::address::AddressError;
use lettre::message::header::{Date, Header as _, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use minijinja::Value;

use super::compose::{formatted, one_line};
use super::{Config, Error, Mail};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;

/// Fields that are the same in every mail: no program answers it.
const FIELDS: [(&str, &str); 2] = [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")];

/// From whom mail comes, and who gets the answers.
pub(super) struct Head {
    app: String,
    from: Address,
    reply_to: Option<Address>,
}

impl Head {
    /// `theme` is what `Pages::for_mail` gives: its contact gets the answers where the settings name nobody.
    pub(super) fn new(config: &Config, app: &str, theme: &Value) -> Result<Self, Error> {
        let from = config.from.as_ref().ok_or(Error::Missing("from"))?;
        let reply_to = config.reply_to.clone().or_else(|| contact(theme));
        let address = |address: &EmailAddress| address.as_str().parse().map_err(|_: AddressError| Error::Address);
        let reply_to = reply_to.as_ref().map(address).transpose()?;
        Ok(Self { app: app.to_owned(), from: address(from)?, reply_to })
    }

    /// The address that the server is told.
    pub(super) fn sender(&self) -> &Address {
        &self.from
    }

    /// The message for `mail`, which has the name `id` in the queue: tried again, it is the same message.
    pub(super) fn message(&self, id: &str, mail: &Mail) -> Result<Message, Unwritable> {
        // The mail package panics at a line break in a name.
        let name = one_line(mail.sender.as_ref().unwrap_or(&self.app));
        let mut message = Message::builder()
            .from(Mailbox::new(Some(name), self.from.clone()))
            .to(Mailbox::new(None, mail.to.parse().map_err(|_| Unwritable)?))
            .subject(mail.subject.clone())
            .header(date(mail.sent_at)?)
            .message_id(Some(format!("<{id}@{}>", self.from.domain())));
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(Mailbox::new(None, reply_to.clone()));
        }
        for (name, value) in FIELDS.into_iter().chain([("Content-Language", mail.language.tag())]) {
            message = message.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()));
        }
        let parts = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
        message.multipart(parts).map_err(|_| Unwritable)
    }
}

/// The mail package does not take an address that linkgate takes, or the time is out of its range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unwritable;

fn contact(theme: &Value) -> Option<EmailAddress> {
    let text = theme.get_attr("contact").and_then(|contact| contact.get_attr("text")).ok()?;
    EmailAddress::parse(text.as_str()?).ok()
}

fn date(moment: Timestamp) -> Result<Date, Unwritable> {
    Date::parse(&formatted(moment, "%a, %d %b %Y %H:%M:%S GMT")).map_err(|_| Unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Language;
    use minijinja::context;

    fn mail() -> Mail {
        let asked_at = Timestamp::from_unix_seconds(1_767_262_830);
        Mail {
            to: "ada@example.org".to_owned(),
            language: Language::German,
            subject: "Sign in to Acme (10:20 UTC)".to_owned(),
            text: "Open this link to sign in:\n".to_owned(),
            html: "<p>Zoë</p>\n".to_owned(),
            sender: None,
            link: None,
            code: None,
            sent_at: asked_at,
            expires_at: asked_at,
        }
    }

    fn written(app: &str, theme: &Value, mail: &Mail) -> String {
        let from = EmailAddress::parse("noreply@mail.example.com").ok();
        let head = Head::new(&Config { from, ..Config::default() }, app, theme).unwrap();
        String::from_utf8(head.message("ID", mail).unwrap().formatted()).unwrap()
    }

    #[test]
    fn a_mail_has_the_headers_of_automatic_mail() {
        let message = written("Acme", &context! {}, &mail());
        for line in [
            "From: Acme <noreply@mail.example.com>",
            "To: ada@example.org",
            "Subject: Sign in to Acme (10:20 UTC)",
            "Date: Thu, 01 Jan 2026 10:20:30 +0000",
            "Message-ID: <ID@mail.example.com>",
            "Auto-Submitted: auto-generated",
            "X-Auto-Response-Suppress: All",
            "Content-Language: de",
            "MIME-Version: 1.0",
        ] {
            assert!(message.lines().any(|found| found == line), "{line} in\n{message}");
        }
        assert!(!message.contains("Reply-To") && !message.contains("List-Unsubscribe") && message.is_ascii());
    }

    #[test]
    fn answers_go_to_the_contact_where_that_is_an_address() {
        let check = |text: &str, expected: bool| {
            let message = written("Acme", &context! { contact => context! { text } }, &mail());
            assert_eq!(message.contains("Reply-To: help@example.com\r\n"), expected, "{message}");
        };
        check("help@example.com", true);
        check("example.com/help", false);
    }

    #[test]
    fn no_name_writes_a_header_of_its_own() {
        let hostile = "Zoë \"山田\" <eve@example.net>,\r\nBcc: eve@example.net\r\n\r\nHello";
        let mail = Mail { subject: hostile.to_owned(), sender: Some(hostile.to_owned()), ..mail() };
        let message = written("Acme", &context! {}, &mail);
        let (head, _) = message.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> =
            head.lines().filter(|line| !line.starts_with(' ')).map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "From",
                "To",
                "Subject",
                "Date",
                "Message-ID",
                "Auto-Submitted",
                "X-Auto-Response-Suppress",
                "Content-Language",
                "MIME-Version",
                "Content-Type"
            ],
            "{head}"
        );
        assert!(head.is_ascii() && head.contains("=?utf-8?b?"), "{head}");
        assert!(message.lines().all(|line| line.len() <= 998), "{message}");
    }
}
