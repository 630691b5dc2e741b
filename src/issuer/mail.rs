//! The mail that carries a link: what it says, as text and as HTML with the same facts.

use std::net::IpAddr;

use axum::http::StatusCode;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::api::Refusal;
use super::mailbox::Mail;
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::pages::Color;

/// The longest `base64logo`, in characters (Mosaic's limit).
const LONGEST_LOGO: usize = 20_000;

/// What the mail is about.
pub(super) struct Facts<'a> {
    pub(super) app: &'a str,
    /// The link, the code, or both.
    pub(super) link: Option<String>,
    pub(super) code: Option<String>,
    pub(super) asked_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) agent: Agent,
    pub(super) address: Option<IpAddr>,
    pub(super) content: Option<EmailContent>,
}

/// `email_content`: the caller's own texts. With it the default texts are not used; what it leaves out is empty.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct EmailContent {
    subject: Option<String>,
    primary_color: Option<String>,
    base64logo: Option<String>,
    header_text: Option<String>,
    body_text: Option<String>,
    link_text: Option<String>,
    info_text: Option<String>,
    footer_text: Option<String>,
}

impl EmailContent {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.subject.as_deref().is_none_or(|subject| one_line(subject).is_empty()) {
            problems.push("email_content.subject should not be empty".to_owned());
        }
        if self.primary_color.clone().is_some_and(|color| Color::try_from(color).is_err()) {
            problems.push("email_content.primaryColor must be a hexadecimal color".to_owned());
        }
        if self.base64logo.as_deref().is_some_and(|logo| logo_source(logo).is_none()) {
            problems.push("email_content.base64logo must be a base64 image of at most 20000 characters".to_owned());
        }
        problems
    }

    fn values(&self) -> Value {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        context! {
            subject => one_line(&text(&self.subject)),
            color => text(&self.primary_color),
            logo => self.base64logo.as_deref().and_then(logo_source).unwrap_or_default(),
            header => text(&self.header_text),
            body => text(&self.body_text),
            button => text(&self.link_text),
            info => text(&self.info_text),
            footer => text(&self.footer_text),
        }
    }
}

/// The logo as a `data:` URL; a bare base64 text counts as PNG.
fn logo_source(logo: &str) -> Option<String> {
    let kinds = ["png", "jpeg", "gif", "webp"];
    let known = kinds
        .into_iter()
        .find_map(|kind| logo.strip_prefix(&format!("data:image/{kind};base64,")).map(|data| (kind, data)));
    let (kind, data) = known.unwrap_or(("png", logo));
    let base64 = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    (base64 && logo.len() <= LONGEST_LOGO).then(|| format!("data:image/{kind};base64,{data}"))
}

/// A text for a header: control characters, line breaks among them, become blanks.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// The digits of a code in two groups, as people read them out.
fn in_groups(code: &str) -> String {
    let (first, second) = code.split_at_checked(code.len().div_ceil(2)).unwrap_or((code, ""));
    format!("{first} {second}")
}

/// The time of day in UTC.
fn clock_time(moment: Timestamp) -> String {
    formatted(moment, "%H:%M")
}

fn formatted(moment: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_millisecond(moment.unix_millis())
        .map_or_else(|_| String::new(), |moment| moment.strftime(format).to_string())
}

/// Writes mails from the templates.
pub(super) struct Composer(Environment<'static>);

impl Composer {
    /// A composer in the operator's theme (see `Pages::for_mail`).
    pub(super) fn new(theme: &Value) -> Self {
        let mut environment = Environment::new();
        environment.add_global("theme", theme.clone());
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("these two options contradict no delimiter"));
        for (name, source) in [
            ("mail.txt", include_str!("../../templates/mail.txt")),
            ("mail.html", include_str!("../../templates/mail.html")),
        ] {
            environment.add_template(name, source).expect("the built-in templates parse, as the tests show");
        }
        Self(environment)
    }

    pub(super) fn compose(&self, to: &EmailAddress, facts: Facts<'_>) -> Result<Mail, Refusal> {
        let until_day = formatted(facts.expires_at, "%-d %B");
        let values = context! {
            app => one_line(facts.app),
            link => facts.link.clone(),
            code => facts.code.as_deref().map(in_groups),
            asked => clock_time(facts.asked_at),
            until => clock_time(facts.expires_at),
            until_day => (until_day != formatted(facts.asked_at, "%-d %B")).then_some(until_day),
            browser => facts.agent.browser,
            system => facts.agent.system,
            address => facts.address.map(|address| address.to_string()),
            content => facts.content.as_ref().map(EmailContent::values),
        };
        let text = self.render("mail.txt", &values)?;
        // The template's first line is the subject, so that all words are in one file.
        let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
        Ok(Mail {
            to: to.to_string(),
            subject: subject.trim().to_owned(),
            text: format!("{}\n", text.trim()),
            html: self.render("mail.html", &values)?,
            link: facts.link,
            code: facts.code,
            sent_at: facts.asked_at,
        })
    }

    fn render(&self, name: &str, values: &Value) -> Result<String, Refusal> {
        self.0.get_template(name).and_then(|template| template.render(values.clone())).map_err(|error| {
            tracing::error!(template = name, error = &error as &dyn std::error::Error, "a mail cannot be written");
            Refusal::Numbered(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::path::Path;

    use super::*;
    use crate::origin::Origin;
    use crate::pages::{Pages, Theme};

    fn facts(content: Option<EmailContent>) -> Facts<'static> {
        let asked_at = Timestamp::from_unix_seconds(1_767_262_830);
        Facts {
            app: "Acme <Wiki>\r\nBcc: x",
            link: Some("https://app.example.com/.linkgate/link?token=T0KEN".to_owned()),
            code: None,
            asked_at,
            expires_at: asked_at.plus(Duration::from_secs(600)),
            agent: Agent { browser: "Firefox".to_owned(), system: Some("Linux".to_owned()) },
            address: Some(IpAddr::from([192, 0, 2, 7])),
            content,
        }
    }

    fn theme(accent: &str, contact: Option<&str>) -> Value {
        let accent = Color::try_from(accent.to_owned()).unwrap();
        let theme = Theme { accent: Some(accent), contact: contact.map(str::to_owned), ..Theme::default() };
        let public_url = Origin::try_from("https://app.example.com".to_owned()).unwrap();
        Pages::new(&theme, &public_url, Path::new("/")).unwrap().for_mail().clone()
    }

    fn compose(facts: Facts<'_>) -> Mail {
        let to = EmailAddress::parse("ada@example.com").unwrap();
        Composer::new(&theme("#2f6f4f", None)).compose(&to, facts).unwrap()
    }

    #[test]
    fn the_mail_has_the_operators_colour_and_contact() {
        let to = EmailAddress::parse("ada@example.com").unwrap();
        let composer = Composer::new(&theme("#123456", Some("help@example.com")));
        let mail = composer.compose(&to, facts(None)).unwrap();
        assert!(mail.html.contains("background:#123456") && mail.html.contains("href=\"mailto:help@example.com\""));
        assert!(mail.text.ends_with("Questions? Ask help@example.com.\n"), "{}", mail.text);
        let without = compose(facts(None));
        assert!(!without.html.contains("Questions?") && !without.text.contains("Questions?"));
    }

    #[test]
    fn text_and_html_carry_the_same_link_and_facts() {
        let mail = compose(facts(None));
        assert_eq!(mail.subject, "Sign in to Acme <Wiki>  Bcc: x (10:20 UTC)");
        for part in [&mail.text, &mail.html] {
            for fact in ["https://app.example.com/.linkgate/link?token=T0KEN", "10:20", "10:30", "192.0.2.7"] {
                assert!(part.contains(fact), "{fact} in {part}");
            }
            assert!(part.contains("with Firefox on Linux"), "{part}");
        }
        assert!(mail.html.contains("Acme &lt;Wiki&gt;"), "{}", mail.html);
        assert!(!mail.html.contains("<Wiki>"));
        assert!(!mail.html.contains("http://") && mail.html.len() < 30_000);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mail = compose(Facts { agent: Agent::default(), address: None, ..facts(None) });
        assert!(mail.text.contains("Asked at 10:20 (UTC)."), "{}", mail.text);
    }

    #[test]
    fn a_link_that_lives_until_another_day_says_so() {
        let long = facts(None);
        let mail = compose(Facts { expires_at: long.asked_at.plus(Duration::from_secs(86_400)), ..long });
        assert!(mail.text.contains("until 10:20 (UTC) on 2 January"), "{}", mail.text);
    }

    #[test]
    fn with_own_content_the_default_texts_are_gone() {
        let content = EmailContent {
            subject: Some("Hello\r\nBcc: x@y.test".to_owned()),
            header_text: Some("<b>Head</b>".to_owned()),
            link_text: Some("Press".to_owned()),
            primary_color: Some("#102030".to_owned()),
            base64logo: Some("data:image/png;base64,AAAA".to_owned()),
            ..EmailContent::default()
        };
        assert_eq!(content.problems(), Vec::<String>::new());
        let mail = compose(facts(Some(content)));
        assert_eq!(mail.subject, "Hello  Bcc: x@y.test");
        assert_eq!(mail.text, "<b>Head</b>\n\nPress: https://app.example.com/.linkgate/link?token=T0KEN\n");
        assert!(mail.html.contains("&lt;b&gt;Head&lt;") && mail.html.contains("#102030"), "{}", mail.html);
        assert!(mail.html.contains("data:image/png;base64,AAAA"), "{}", mail.html);
        assert!(!mail.html.contains("Works once"));
    }

    #[test]
    fn content_is_checked() {
        let check = |content: EmailContent, field: &str| {
            let problems = content.problems();
            assert!(problems.len() == 1 && problems[0].contains(field), "{problems:?}");
        };
        let fine = EmailContent { subject: Some("Hi".to_owned()), ..EmailContent::default() };
        check(EmailContent::default(), "subject");
        check(EmailContent { subject: Some("\r\n".to_owned()), ..fine.clone() }, "subject");
        check(EmailContent { primary_color: Some("red;x".to_owned()), ..fine.clone() }, "primaryColor");
        check(EmailContent { base64logo: Some("https://evil.test/x.png".to_owned()), ..fine.clone() }, "base64logo");
        check(EmailContent { base64logo: Some("A".repeat(20_001)), ..fine }, "base64logo");
    }
}
