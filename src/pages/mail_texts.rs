//! The texts of a mail that another service sends for us: the same words as in the built-in issuer's mail, in the
//! fields of Mosaic's `email_content`.

use std::net::IpAddr;

use super::messages::clock_time;
use super::{Language, Messages, Pages};
use crate::clock::Timestamp;

/// What a mail is about.
#[derive(Clone, Copy, Debug)]
pub struct MailFacts<'a> {
    /// The language of the page that it was asked for on.
    pub language: Language,
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

impl Pages {
    /// The texts of a mail in the theme's name and colour.
    pub fn mail_texts(&self, facts: &MailFacts<'_>) -> MailTexts {
        let (messages, app) = (self.messages(), one_line(&self.app));
        let say = |key: &str, values: &[(&str, &str)]| messages.say(facts.language, key, values);
        let plain = |key: &str| say(key, &[]);
        let asked = clock_time(facts.asked_at);
        let until = messages.moment(facts.language, facts.expires_at, facts.asked_at);
        let titled = |key: &str| say(key, &[("app", &app), ("asked", &asked)]);
        let (subject, header, body, safety) = if facts.is_code {
            ("mail.code_subject", "mail.code_header", "mail.code_body", "mail.secret")
        } else {
            ("mail.link_subject", "mail.link_header", "mail.works_bound", "mail.bound")
        };
        let info = [messages.origin(facts), plain("mail.not_you"), plain(safety), plain("mail.no_forward")];
        MailTexts {
            subject: titled(subject),
            header: titled(header),
            body: say(body, &[("until", &until)]),
            button: plain("mail.button"),
            info: info.join(" "),
            footer: match &self.contact {
                Some(contact) => say("mail.footer_contact", &[("contact", contact.text())]),
                None => say("mail.footer", &[("app", &app)]),
            },
            sender: app.clone(),
            color: self.mail_color.clone(),
            logo: self.assets.mail_logo(),
        }
    }
}

impl Messages {
    /// When and from where it was asked for, as far as that is known.
    pub fn origin(&self, facts: &MailFacts<'_>) -> String {
        let say = |key: &str, values: &[(&str, &str)]| self.say(facts.language, key, values);
        let asked = self.moment(facts.language, facts.asked_at, facts.asked_at);
        let device = match (facts.browser, facts.system) {
            ("", _) => None,
            (browser, None) => Some(browser.to_owned()),
            (browser, Some(system)) => Some(say("mail.device", &[("browser", browser), ("system", system)])),
        };
        let address = facts.address.map(|address| address.to_string());
        let key = match (&device, &address) {
            (None, None) => "mail.asked",
            (None, Some(_)) => "mail.asked_from",
            (Some(_), None) => "mail.asked_with",
            (Some(_), Some(_)) => "mail.asked_with_from",
        };
        let (device, address) = (device.unwrap_or_default(), address.unwrap_or_default());
        say(key, &[("asked", &asked), ("device", &device), ("address", &address)])
    }
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
            language: Language::English,
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
            info: "Asked at 10:20 (UTC) with Firefox on Linux, from 192.0.2.7. Didn't ask? You can ignore this email. \
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
        assert!(info(&MailFacts { browser: "", ..facts() }).starts_with("Asked at 10:20 (UTC), from 192.0.2.7. "));
        let system = MailFacts { system: None, address: None, ..facts() };
        assert!(info(&system).starts_with("Asked at 10:20 (UTC) with Firefox. "));
        let code = pages.mail_texts(&MailFacts { is_code: true, ..facts() });
        assert_eq!(code.subject, "Your code for app.example.com (10:20 UTC)");
        assert!(!code.info.contains("link") && !code.footer.is_empty());
        assert_eq!(pages.missing_messages(), 0);
    }

    #[test]
    fn every_text_is_in_the_language_of_the_page() {
        let pages = pages(&Theme::default());
        let texts = pages.mail_texts(&MailFacts { language: Language::German, ..facts() });
        assert_eq!(texts.subject, "Bei app.example.com anmelden (10:20 UTC)");
        assert_eq!(
            texts.body,
            "Gilt einmal, bis 10:30 Uhr (UTC), in dem Browser, in dem Sie die E-Mail angefordert haben."
        );
        assert!(texts.info.starts_with("Angefordert um 10:20 Uhr (UTC) mit Firefox unter Linux, von 192.0.2.7. Sie "));
        for language in Language::ALL.into_iter().filter(|language| *language != Language::English) {
            let (ours, english) = (pages.mail_texts(&MailFacts { language, ..facts() }), pages.mail_texts(&facts()));
            let texts =
                |texts: MailTexts| [texts.subject, texts.header, texts.body, texts.button, texts.info, texts.footer];
            for (ours, english) in texts(ours).into_iter().zip(texts(english)) {
                assert_ne!(ours, english, "{language:?}");
            }
        }
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
