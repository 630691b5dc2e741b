//! The texts of a mail that another service sends for us: the same words as in the built-in issuer's mail, in the
//! fields of Mosaic's `email_content`.

use std::net::IpAddr;

use super::Pages;
use super::catalogue::{ENGLISH, Piece, pieces};
use crate::clock::Timestamp;

/// What a mail is about.
#[derive(Clone, Copy, Debug)]
pub struct MailFacts<'a> {
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When its link or code stops working.
    pub expires_at: Timestamp,
    /// The well-known name of the browser that asked; empty where it is not known.
    pub browser: &'a str,
    /// The well-known name of its system.
    pub system: Option<&'a str>,
    /// Where it asked from.
    pub address: Option<IpAddr>,
    /// Whether the mail has a code to type in place of a link.
    pub is_code: bool,
}

/// The texts, none of them empty but the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailTexts {
    /// The subject line.
    pub subject: String,
    /// The name of the sender: the application's.
    pub sender: String,
    /// The headline.
    pub header: String,
    /// The text above the button.
    pub body: String,
    /// The text of the button.
    pub button: String,
    /// The text below the button.
    pub info: String,
    /// The text at the end.
    pub footer: String,
    /// The colour of the button, as `#6981ff`.
    pub color: String,
    /// The logo as a `data:` URL of at most 20000 characters, where the theme has one that mail programs show.
    pub logo: Option<String>,
}

/// The messages of a mail with a link: subject, headline, text above the button, text below it.
const LINK: [&str; 4] = ["mail.link_subject", "mail.link_header", "mail.link_body", "mail.link_info"];
/// The same for a mail with a code.
const CODE: [&str; 4] = ["mail.code_subject", "mail.code_header", "mail.code_body", "mail.code_info"];

impl Pages {
    /// The texts of a mail in the theme's name and colour.
    pub fn mail_texts(&self, facts: &MailFacts<'_>) -> MailTexts {
        let (asked, until) = (clock_time(facts.asked_at), clock_time(facts.expires_at));
        let app = one_line(&self.app);
        let values = |more: &[(&str, &str)]| -> Vec<(String, String)> {
            let usual = [("app", app.as_str()), ("asked", asked.as_str()), ("until", until.as_str())];
            usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let plain = |key: &str| self.say(key, &values(&[]));
        let address = facts.address.map(|address| address.to_string());
        let origin = match (facts.browser, facts.system, &address) {
            ("", _, None) => plain("mail.asked"),
            ("", _, Some(address)) => self.say("mail.asked_from", &values(&[("address", address)])),
            (browser, system, address) => {
                let device = system.map_or_else(|| browser.to_owned(), |system| format!("{browser} ({system})"));
                match address {
                    None => self.say("mail.asked_with", &values(&[("device", &device)])),
                    Some(address) => {
                        self.say("mail.asked_with_from", &values(&[("device", &device), ("address", address)]))
                    }
                }
            }
        };
        let [subject, header, body, info] = if facts.is_code { CODE } else { LINK };
        let contact = self.contact.as_ref().map(|contact| contact.text().to_owned());
        MailTexts {
            subject: plain(subject),
            header: plain(header),
            body: plain(body),
            button: plain("mail.button"),
            info: format!("{origin} {}", plain(info)),
            footer: match contact {
                Some(contact) => self.say("mail.footer_contact", &values(&[("contact", &contact)])),
                None => plain("mail.footer"),
            },
            sender: app.clone(),
            color: self.mail_color.clone(),
            logo: self.assets.mail_logo(),
        }
    }

    /// A message as plain text.
    fn say(&self, key: &str, values: &[(String, String)]) -> String {
        let message = self.catalogue.message(ENGLISH, key, None);
        let value = |name: &str| values.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        pieces(message).into_iter().fold(String::new(), |text, piece| match piece {
            Piece::Text(said) => text + said,
            Piece::Placeholder(name) => text + value(name),
        })
    }
}

/// The time of day in UTC.
fn clock_time(moment: Timestamp) -> String {
    let written = moment.to_string();
    written.split_once('T').and_then(|(_, time)| time.get(..5)).unwrap_or_default().to_owned()
}

/// The name goes into a subject and a sender.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::origin::Origin;
    use crate::pages::Theme;

    fn facts() -> MailFacts<'static> {
        let asked_at = Timestamp::from_unix_seconds(1_767_262_830);
        MailFacts {
            asked_at,
            expires_at: asked_at.plus(Duration::from_secs(600)),
            browser: "Firefox",
            system: Some("Linux"),
            address: Some(IpAddr::from([192, 0, 2, 7])),
            is_code: false,
        }
    }

    fn pages(theme: &Theme) -> Pages {
        let origin = Origin::try_from("https://app.example.com".to_owned()).unwrap();
        Pages::new(theme, &origin, Path::new("/")).unwrap()
    }

    #[test]
    fn every_text_is_filled_from_theme_and_catalogue() {
        let theme = Theme {
            name: Some("Acme\r\nWiki".to_owned()),
            contact: Some("help@example.com".to_owned()),
            ..Theme::default()
        };
        let pages = pages(&theme);
        let texts = pages.mail_texts(&facts());
        let expected = MailTexts {
            subject: "Sign in to Acme  Wiki (10:20 UTC)".to_owned(),
            sender: "Acme  Wiki".to_owned(),
            header: "Sign in to Acme  Wiki".to_owned(),
            body: "Works once, until 10:30 (UTC), in the browser where you asked.".to_owned(),
            button: "Sign in".to_owned(),
            info: "Asked at 10:20 (UTC) with Firefox (Linux), from 192.0.2.7. Didn't ask? You can ignore this email. \
                   Nobody can use the link without the browser that asked. Please don't forward this email."
                .to_owned(),
            footer: "Questions? Ask help@example.com.".to_owned(),
            color: "#2f6f4f".to_owned(),
            logo: None,
        };
        assert_eq!(texts, expected);
        assert_eq!(pages.missing_messages(), 0);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let pages = pages(&Theme::default());
        let info = |facts: &MailFacts<'_>| pages.mail_texts(facts).info;
        let nobody = MailFacts { browser: "", address: None, ..facts() };
        assert!(info(&nobody).starts_with("Asked at 10:20 (UTC). Didn't"));
        assert!(info(&MailFacts { browser: "", ..facts() }).starts_with("Asked at 10:20 (UTC) from 192.0.2.7. "));
        let system = MailFacts { system: None, address: None, ..facts() };
        assert!(info(&system).starts_with("Asked at 10:20 (UTC) with Firefox. "));
        let code = pages.mail_texts(&MailFacts { is_code: true, ..facts() });
        assert_eq!(code.subject, "Your code for app.example.com (10:20 UTC)");
        assert!(!code.info.contains("link") && !code.footer.is_empty());
        assert_eq!(pages.missing_messages(), 0);
    }

    #[test]
    fn only_a_small_picture_goes_into_mail() {
        let directory = std::env::temp_dir().join(format!("linkgate-mail-logo-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let logo = |name: &str, content: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, content).unwrap();
            pages(&Theme { logo: Some(path), ..Theme::default() }).mail_texts(&facts()).logo
        };
        let png = |bytes: usize| [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0; bytes]].concat();
        let small = logo("small.png", &png(100)).unwrap();
        assert!(small.starts_with("data:image/png;base64,iVBORw0KGgo"));
        assert!(logo("fits.png", &png(14_970)).is_some_and(|logo| logo.len() <= 20_000));
        assert_eq!(logo("large.png", &png(15_000)), None);
        assert_eq!(logo("drawing.svg", b"<svg/>"), None);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
