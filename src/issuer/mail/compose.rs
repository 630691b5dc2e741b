//! What a mail says: as text and as HTML with the same link, code and facts, from templates that the operator can
//! replace.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::Mail;
use super::content::EmailContent;
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::issuer::api::Refusal;
use crate::pages::{Language, MailFacts, Messages};

/// The templates, which a folder of the operator's may hold under the same names.
const TEMPLATES: [(&str, &str); 2] = [
    ("mail.txt", include_str!("../../../templates/mail.txt")),
    ("mail.html", include_str!("../../../templates/mail.html")),
];

/// What the mail is about: a link, a code, or both.
pub(in crate::issuer) struct Facts<'a> {
    /// What the mail is written in: the language of the page that it was asked for on.
    pub(in crate::issuer) language: Language,
    pub(in crate::issuer) app: &'a str,
    /// Whether it works only in the browser that asked: whether the gateway sends it, which sees to that.
    pub(in crate::issuer) is_bound: bool,
    /// Where the button leads; made of URL characters only.
    pub(in crate::issuer) link: Option<String>,
    /// What can be typed instead, or is all that there is.
    pub(in crate::issuer) code: Option<String>,
    pub(in crate::issuer) asked_at: Timestamp,
    /// When the link, or else the code, works no more: the mail is not sent after that.
    pub(in crate::issuer) expires_at: Timestamp,
    pub(in crate::issuer) agent: Agent,
    pub(in crate::issuer) address: Option<IpAddr>,
    pub(in crate::issuer) content: Option<EmailContent>,
}

/// A text for a header: control characters, line breaks among them, become blanks.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// The time of day in UTC.
fn clock_time(moment: Timestamp) -> String {
    formatted(moment, "%H:%M")
}

pub(super) fn formatted(moment: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_millisecond(moment.unix_millis())
        .map_or_else(|_| String::new(), |moment| moment.strftime(format).to_string())
}

/// The code as it is read best: in two halves, where it is long.
fn grouped(code: &str) -> String {
    match code.split_at_checked(code.len() / 2) {
        Some((left, right)) if code.len() >= 6 => format!("{left} {right}"),
        _ => code.to_owned(),
    }
}

/// Why a template of the operator's cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The folder has none of the files that are looked for.
    #[error("find `mail.txt` or `mail.html` in `{0}`")]
    None(PathBuf),
    /// A file cannot be read.
    #[error("read the template `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A template does not parse, or asks for a value that mails do not have.
    #[error("use the template `{path}:{line}`: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl TemplateError {
    fn wrong(path: &Path, error: &minijinja::Error) -> Self {
        let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        Self::Wrong { path: path.to_owned(), line: error.line().unwrap_or(1), reason }
    }
}

/// Writes mails from the templates.
///
/// A template has `lang` and `dir`, the tag and the direction of its language, and `t(key, name=value)`, which says a
/// message of `locales/` in it. It has `app`, `link` and `code` (one of them may be none), `is_bound` where they work only
/// in the browser that asked, the times `asked`, `until` and, where it is another day, `until_day`, the same in words as
/// `until_time`, what is known of who asked, `browser`, `system` and `address`, the same in words as `origin`, the
/// operator's `theme` (`accent`, `on_accent`, `contact`), and `content`, which is none or the caller's own texts:
/// `subject`, `header`, `body`, `button`, `info`, `footer`, `color`, `logo`. The first line of `mail.txt` is the subject.
pub(in crate::issuer) struct Composer {
    environment: Environment<'static>,
    messages: Messages,
}

impl Composer {
    /// A composer in the operator's theme (see `Pages::for_mail`), with those of the operator's templates that
    /// `folder` has.
    ///
    /// # Errors
    /// When the folder has no template, or one cannot be used.
    pub(in crate::issuer) fn new(
        theme: &Value,
        messages: Messages,
        folder: Option<&Path>,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        messages.add_to(&mut environment);
        environment.add_global("theme", theme.clone());
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("these two options contradict no delimiter"));
        for (name, source) in TEMPLATES {
            environment.add_template(name, source).expect("the built-in templates parse, as the tests show");
        }
        let mut composer = Self { environment, messages };
        if let Some(folder) = folder {
            composer.replace(folder)?;
        }
        Ok(composer)
    }

    fn replace(&mut self, folder: &Path) -> Result<(), TemplateError> {
        let files = TEMPLATES.map(|(name, _)| (name, folder.join(name)));
        if files.iter().all(|(_, path)| !path.exists()) {
            return Err(TemplateError::None(folder.to_owned()));
        }
        for (name, path) in files.iter().filter(|(_, path)| path.exists()) {
            let source =
                std::fs::read_to_string(path).map_err(|source| TemplateError::Read { path: path.clone(), source })?;
            let wrong = |error| TemplateError::wrong(path, &error);
            self.environment.add_template_owned(*name, source).map_err(wrong)?;
            for facts in Facts::samples() {
                let values = facts.values(&self.messages);
                self.environment.get_template(name).and_then(|template| template.render(values)).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// Whether the operator's templates can be used, whatever the theme is.
    ///
    /// # Errors
    /// As [`Composer::new`].
    pub(super) fn check(folder: &Path) -> Result<(), TemplateError> {
        let contact = context! { text => "help@example.com", href => "mailto:help@example.com" };
        let theme = context! { accent => "#000000", on_accent => "#ffffff", contact };
        let messages = Messages::built_in().expect("the built-in messages parse, as the tests show");
        Self::new(&theme, messages, Some(folder)).map(drop)
    }

    pub(in crate::issuer) fn compose(&self, to: &EmailAddress, facts: Facts<'_>) -> Result<Mail, Refusal> {
        let values = facts.values(&self.messages);
        let text = self.render("mail.txt", &values)?;
        // The template's first line is the subject, so that all words are in one file.
        let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
        Ok(Mail {
            to: to.to_string(),
            language: facts.language,
            subject: one_line(subject),
            text: format!("{}\n", text.trim()),
            html: self.render("mail.html", &values)?,
            sender: Some(facts.content.as_ref().and_then(EmailContent::sender).unwrap_or_else(|| one_line(facts.app))),
            link: facts.link,
            code: facts.code,
            sent_at: facts.asked_at,
            expires_at: facts.expires_at,
        })
    }

    fn render(&self, name: &str, values: &Value) -> Result<String, Refusal> {
        self.environment.get_template(name).and_then(|template| template.render(values.clone())).map_err(|error| {
            tracing::error!(template = name, error = &error as &dyn std::error::Error, "a mail cannot be written");
            Refusal::Numbered(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
        })
    }
}

impl Facts<'_> {
    fn values(&self, messages: &Messages) -> Value {
        let Self { language, asked_at, expires_at, .. } = *self;
        let origin = messages.origin(&MailFacts {
            language,
            asked_at,
            expires_at,
            browser: &self.agent.browser,
            system: self.agent.system.as_deref(),
            address: self.address,
            is_code: self.link.is_none(),
        });
        // Two groups of digits would change places between words that go from right to left.
        let shown = |code: &str| if language.direction() == "ltr" { grouped(code) } else { code.to_owned() };
        context! {
            lang => language.tag(),
            dir => language.direction(),
            app => one_line(self.app),
            is_bound => self.is_bound,
            link => self.link.clone(),
            code => self.code.as_deref().map(shown),
            asked => clock_time(asked_at),
            until => clock_time(expires_at),
            until_day => messages.day(language, expires_at, asked_at),
            until_time => messages.moment(language, expires_at, asked_at),
            origin,
            browser => self.agent.browser.clone(),
            system => self.agent.system.clone(),
            address => self.address.map(|address| address.to_string()),
            content => self.content.as_ref().map(EmailContent::values),
        }
    }

    /// Facts of every kind, with which a template must do.
    fn samples() -> Vec<Self> {
        let link = || Some("https://app.example.com/.linkgate/link?token=sample".to_owned());
        let code = || Some("123456".to_owned());
        let known = || Agent { browser: "Firefox".to_owned(), system: Some("Linux".to_owned()) };
        let asked_at = Timestamp::from_unix_seconds(0);
        let mut samples = Vec::new();
        for (link, code) in [(link(), None), (None, code()), (link(), code())] {
            for content in [None, Some(EmailContent::default())] {
                for (agent, address) in [(Agent::default(), None), (known(), Some(IpAddr::from([192, 0, 2, 7])))] {
                    let expires_at = asked_at.plus(Duration::from_secs(86_400));
                    let (link, code, content) = (link.clone(), code.clone(), content.clone());
                    samples.push(Facts {
                        language: Language::English,
                        app: "Example",
                        is_bound: true,
                        link,
                        code,
                        asked_at,
                        expires_at,
                        agent,
                        address,
                        content,
                    });
                }
            }
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;
    use crate::pages::{Color, Pages, Theme};

    const LINK: &str = "https://app.example.com/.linkgate/link?token=T0KEN";

    fn facts(content: Option<EmailContent>) -> Facts<'static> {
        let asked_at = Timestamp::from_unix_seconds(1_767_262_830);
        Facts {
            language: Language::English,
            app: "Acme <Wiki>\r\nBcc: x",
            is_bound: true,
            link: Some(LINK.to_owned()),
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

    fn messages() -> Messages {
        Messages::built_in().unwrap()
    }

    fn compose(facts: Facts<'_>) -> Mail {
        let to = EmailAddress::parse("ada@example.com").unwrap();
        Composer::new(&theme("#2f6f4f", None), messages(), None).unwrap().compose(&to, facts).unwrap()
    }

    #[test]
    fn the_mail_has_the_operators_colour_and_contact() {
        let to = EmailAddress::parse("ada@example.com").unwrap();
        let composer = Composer::new(&theme("#123456", Some("help@example.com")), messages(), None).unwrap();
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
            assert!(part.contains("with Firefox on Linux, from"), "{part}");
        }
        assert!(mail.html.contains("Acme &lt;Wiki&gt;"), "{}", mail.html);
        assert!(!mail.html.contains("<Wiki>"));
        assert!(!mail.html.contains("http://") && mail.html.len() < 30_000);
    }

    #[test]
    fn a_code_stands_beside_the_link_and_not_in_the_subject() {
        let mail = compose(Facts { code: Some("123456".to_owned()), ..facts(None) });
        assert_eq!(mail.subject, "Sign in to Acme <Wiki>  Bcc: x (10:20 UTC)");
        let html = "Or type this code: <strong dir=\"ltr\" style=\"white-space:nowrap\">123 456</strong>";
        assert!(mail.html.contains(html), "{}", mail.html);
        let order = ["Sign in to", LINK, "Works once", "Or type this code: 123 456", "Asked at", "Didn't ask?"];
        let places: Vec<_> = order.iter().map(|part| mail.text.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {}", mail.text);
    }

    #[test]
    fn a_code_alone_has_a_mail_of_its_own() {
        let mail = compose(Facts { link: None, code: Some("1234567".to_owned()), ..facts(None) });
        assert_eq!(mail.subject, "Your code for Acme <Wiki>  Bcc: x (10:20 UTC)");
        assert!(mail.text.contains("Type this code where you asked for it: 123 4567\n"), "{}", mail.text);
        assert!(mail.html.contains(">123 4567</strong>") && !mail.html.contains("<a "), "{}", mail.html);
        let (before_body, _) = mail.html.split_once("<table").unwrap();
        assert!(!before_body.contains("123 4567"), "the preview of the mail shows no code");
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("Tell nobody the code.") && !part.contains("ink"), "{part}");
        }
    }

    /// Everything that a mail can be about, in every language.
    fn all() -> Vec<(String, Mail)> {
        let to = EmailAddress::parse("ada@example.com").unwrap();
        let composer = Composer::new(&theme("#2f6f4f", Some("help@example.com")), messages(), None).unwrap();
        let content = EmailContent {
            subject: Some("Hello".to_owned()),
            header_text: Some("Head".to_owned()),
            body_text: Some("Body".to_owned()),
            link_text: Some("Press".to_owned()),
            info_text: Some("Info".to_owned()),
            footer_text: Some("Foot".to_owned()),
            base64logo: Some(format!("data:image/png;base64,{}", "A".repeat(19_000))),
            ..EmailContent::default()
        };
        let mut mails = Vec::new();
        for language in Language::ALL {
            for (link, code) in [(true, false), (false, true), (true, true)] {
                for (is_bound, content) in [(true, None), (false, None), (true, Some(content.clone()))] {
                    let state = format!("{language:?}, link {link}, code {code}, own {}", content.is_some());
                    let facts = Facts {
                        language,
                        is_bound,
                        link: link.then(|| LINK.to_owned()),
                        code: code.then(|| "123456".to_owned()),
                        ..facts(content)
                    };
                    mails.push((state, composer.compose(&to, facts).unwrap()));
                }
            }
        }
        mails
    }

    /// The start tags, without the comments that only Outlook reads.
    fn tags(html: &str) -> Vec<&str> {
        html.split('<').skip(1).filter_map(|piece| piece.split_once('>')).map(|(tag, _)| tag).collect()
    }

    #[test]
    fn every_mail_is_one_that_mail_programs_show() {
        for (state, mail) in all() {
            let html = &mail.html;
            assert!(html.len() < 30_000, "{state}: {}", html.len());
            let (tag, direction) = (mail.language.tag(), mail.language.direction());
            assert!(
                html.starts_with(&format!("<!doctype html>\n<html lang=\"{tag}\" dir=\"{direction}\">")),
                "{state}"
            );
            assert_eq!(html.matches("<h1 ").count(), 1, "{state}");
            assert!(html.contains("<meta name=\"color-scheme\" content=\"light dark\">"), "{state}");
            for tag in tags(html) {
                let name = tag.split(' ').next().unwrap();
                let forbidden =
                    ["script", "style", "link", "form", "input", "button", "iframe", "object", "video", "base", "svg"];
                assert!(!forbidden.contains(&name), "{state}: {tag}");
                assert!(!tag.contains(" class=") && !tag.contains(" id=") && !tag.contains(" on"), "{state}: {tag}");
                assert!(!tag.contains("background-image") && !tag.contains("url("), "{state}: {tag}");
                assert!(!tag.contains("position:") && !tag.contains("float:"), "{state}: {tag}");
                match name {
                    "table" => assert!(tag.contains("role=\"presentation\""), "{state}: {tag}"),
                    "img" => assert!(tag.contains(" alt=\"") && tag.contains("src=\"data:image/"), "{state}: {tag}"),
                    "a" => {
                        let place = tag.split_once("href=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
                        assert!(place == LINK || place == "mailto:help@example.com", "{state}: {tag}");
                    }
                    _ => assert!(!tag.contains(" src="), "{state}: {tag}"),
                }
                for width in tag.split("width").skip(1) {
                    let digits: String =
                        width.trim_start_matches([':', '=', '"']).chars().take_while(char::is_ascii_digit).collect();
                    assert!(
                        digits.parse::<u32>().is_ok_and(|width| width <= 600) || digits.is_empty(),
                        "{state}: {tag}"
                    );
                }
            }
            let linked = html.matches(&format!("href=\"{LINK}\"")).count();
            assert_eq!(linked, if mail.link.is_some() { 2 } else { 0 }, "{state}: the button, and the link to read");
        }
    }

    #[test]
    fn both_parts_say_the_same_in_every_language() {
        for (state, mail) in all() {
            let plain = plain(&mail.html);
            for line in mail.text.lines().filter(|line| !line.is_empty() && *line != LINK) {
                let line = line.strip_prefix("Press: ").unwrap_or(line);
                let is_way_in = line == messages().say(mail.language, "mail.open_link", &[]);
                assert!(is_way_in || plain.contains(line), "{state}: {line:?} is not in\n{plain}");
            }
            assert_eq!(mail.link.is_some(), mail.text.contains(LINK), "{state}");
            let has_code = ["123 456", "123456"].map(|code| mail.text.contains(code) && plain.contains(code));
            assert_eq!(mail.code.is_some(), has_code.contains(&true), "{state}");
            assert!(!mail.subject.contains("123"), "{state}");
        }
    }

    /// What is read of an HTML part, as text.
    fn plain(html: &str) -> String {
        let body = html.split_once("<body").map_or(html, |(_, body)| body);
        let mut text = String::new();
        for piece in body.split('<') {
            text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text));
        }
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&#x27;", "'"), ("&quot;", "\""), ("&amp;", "&")];
        entities.iter().fold(text, |text, (entity, sign)| text.replace(entity, sign))
    }

    #[test]
    fn a_mail_is_in_the_language_that_it_was_asked_for_in() {
        let mail =
            compose(Facts { language: Language::Hebrew, code: Some("123456".to_owned()), app: "Acme", ..facts(None) });
        assert_eq!(mail.subject, "כניסה אל Acme (10:20 UTC)");
        assert!(mail.text.contains("או להקליד את הקוד הזה: 123456\n"), "{}", mail.text);
        assert!(mail.html.contains("text-align:right"), "{}", mail.html);
        let mail = compose(Facts { language: Language::German, app: "Acme", ..facts(None) });
        assert!(mail.text.contains("\nAngefordert um 10:20 Uhr (UTC) mit Firefox unter Linux, von 192.0.2.7.\n"));
    }

    #[test]
    fn codes_are_read_in_halves() {
        for (code, expected) in [("1234", "1234"), ("12345", "12345"), ("123456", "123 456"), ("12345678", "1234 5678")]
        {
            assert_eq!(grouped(code), expected);
        }
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
        assert_eq!(mail.sender.as_deref(), Some("Acme <Wiki>  Bcc: x"));
    }

    #[test]
    fn own_content_has_the_code_too_and_its_own_sender() {
        let content = EmailContent {
            subject: Some("Hello".to_owned()),
            sender_name: Some("Acme\r\nHelp".to_owned()),
            ..EmailContent::default()
        };
        let with_code = || Facts { code: Some("123456".to_owned()), ..facts(Some(content.clone())) };
        let mail = compose(with_code());
        assert_eq!(mail.text, format!("{LINK}\n\n123 456\n"));
        assert!(mail.html.contains(">123 456</strong>"), "{}", mail.html);
        assert_eq!(mail.sender.as_deref(), Some("Acme  Help"));
        assert_eq!(compose(Facts { link: None, ..with_code() }).text, "123 456\n");
    }

    #[test]
    fn only_what_the_gateway_binds_to_a_browser_is_said_to_be_bound() {
        let promises = |mail: &Mail| {
            [&mail.text, &mail.html].map(|part| {
                [", in the browser where you asked", "Nobody can use the link"].map(|promise| part.contains(promise))
            })
        };
        assert_eq!(promises(&compose(facts(None))), [[true; 2]; 2]);
        let unbound = compose(Facts { is_bound: false, ..facts(None) });
        assert_eq!(promises(&unbound), [[false; 2]; 2]);
        assert!(unbound.text.contains("\n\nDidn't ask? You can ignore this email.\nPlease don't"), "{}", unbound.text);
    }

    #[test]
    fn a_mail_comes_from_the_application_that_asked() {
        assert_eq!(compose(Facts { app: "Intranet", ..facts(None) }).sender.as_deref(), Some("Intranet"));
    }

    #[test]
    fn templates_of_the_operators_replace_ours_one_by_one() {
        let folder = std::env::temp_dir().join(format!("linkgate-{}", crate::secret::random_token().expose()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("mail.txt"), "Welcome to {{ app }}\n\n{{ link }}\n{{ code or '' }}\n").unwrap();
        let composer = Composer::new(&theme("#2f6f4f", None), messages(), Some(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
        let to = EmailAddress::parse("ada@example.com").unwrap();
        let mail = composer.unwrap().compose(&to, Facts { app: "Acme", ..facts(None) }).unwrap();
        assert_eq!((mail.subject.as_str(), mail.text), ("Welcome to Acme", format!("{LINK}\n")));
        assert!(mail.html.contains("Sign in to Acme"));
    }
}
