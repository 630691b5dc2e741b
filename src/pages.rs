//! What people see: the pages, in the operator's theme and words.
//!
//! A part fills a [`View`] and gets HTML back; which page it is and which status it has is the caller's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::value::{Serde, merge_maps};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::origin::Origin;
use crate::telemetry::Metrics;

mod assets;
mod catalogue;
mod functions;
mod language;
mod letters;
mod mail_domains;
mod mail_texts;
mod messages;
mod theme;
mod views;

pub use assets::Asset;
pub use language::{Language, Reader, UnknownLanguage};
pub use letters::{AccessAnswered, AccessAsked, Invitation, Letter, NoticeFacts};
pub use mail_domains::{Webmail, suggestion};
pub use mail_texts::{MailFacts, MailTexts};
pub use messages::Messages;
pub use theme::{BadColor, Color, Theme};
pub use views::*;

use assets::Assets;
use catalogue::Catalogue;
use theme::{Contact, Palette};

/// Everything that is needed to show a page: templates, messages, theme and assets. Built once.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    /// The same without the operator's templates.
    built_in: Environment<'static>,
    catalogue: Arc<Catalogue>,
    default: Language,
    assets: Assets,
    app: String,
    contact: Option<Contact>,
    mail_color: String,
    mail: Value,
}

/// What every page carries beside its own content.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Frame<'a> {
    /// Who reads it.
    #[serde(skip)]
    pub reader: &'a Reader,
    /// The reference at the foot of the page: the same in header and log.
    pub request_id: &'a str,
    /// The moment of the answer.
    pub now: Timestamp,
}

/// The content of one page in one state.
pub trait View: Serialize {
    /// The template that shows it.
    const TEMPLATE: &'static str;
}

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../templates/", $name)))),+]
    };
}

const TEMPLATES: &[(&str, &str)] = embedded![
    "layout.html",
    "part_fields.html",
    "part_new_link.html",
    "part_suggestion.html",
    "sign_in.html",
    "check_email.html",
    "part_code.html",
    "part_mail_link.html",
    "part_problem.html",
    "part_ask.html",
    "code_expired.html",
    "code_locked.html",
    "signed_in_elsewhere.html",
    "link_expired.html",
    "link_used.html",
    "newer_email.html",
    "other_browser.html",
    "choose_number.html",
    "number_chosen.html",
    "number_stopped.html",
    "sign_in_stopped.html",
    "already_signed_in.html",
    "no_access.html",
    "asked_for_access.html",
    "access_request.html",
    "access_request_gone.html",
    "not_admitted.html",
    "problem.html",
    "sign_in_unavailable.html",
    "too_many_requests.html",
    "sign_out.html",
    "signed_out.html",
    "cookies_blocked.html",
    "not_found.html",
    "unknown_host.html",
    "stale_form.html",
    "bad_request.html",
    "refused.html",
    "debug.html",
    "link.html",
    "mailbox.html",
    "mailbox_mail.html",
    "demo.html",
    "account.html",
    "device.html",
    "notice.html",
];

/// What is shown when a template fails: our mistake, and no reason to show nothing.
const PLAIN_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Something went wrong</title>\
    <h1>Something went wrong on our side</h1><p>Try again in a moment.</p></html>\n";

impl Theme {
    /// Everything in the theme that cannot be used, with the setting's name.
    pub fn problems(&self, base_dir: &Path) -> Vec<(String, Error)> {
        let palette = Palette::of(self.accent);
        let plain = Palette::of(None).and_then(|palette| Assets::new(palette, self.logo.as_deref(), base_dir));
        let contact = self.contact.as_deref().map(Contact::parse).transpose();
        let templates = self.templates.as_deref().map(|folder| own_templates(&base_dir.join(folder))).transpose();
        let problems = [
            ("accent", palette.err()),
            ("logo", plain.err()),
            ("contact", contact.err()),
            ("templates", templates.err()),
        ];
        let problems = problems.into_iter().filter_map(|(name, problem)| Some((name.to_owned(), problem?)));
        let texts = Catalogue::embedded().map(|catalogue| catalogue.problems(&self.texts)).unwrap_or_default();
        problems.chain(texts).collect()
    }

    /// Whether the logo, where there is one that can be used, is left out of mail: a drawing, or too large.
    pub fn logo_is_for_pages_only(&self, base_dir: &Path) -> bool {
        let assets = Palette::of(None).and_then(|palette| Assets::new(palette, self.logo.as_deref(), base_dir));
        assets.is_ok_and(|assets| assets.has_logo() && assets.mail_logo().is_none())
    }
}

impl Pages {
    /// Reads the theme's files (paths are below `base_dir`), checks its colours, and parses templates and messages.
    ///
    /// # Errors
    /// When the logo or the contact cannot be used, or the accent cannot be read on a page.
    pub fn new(theme: &Theme, public_url: &Origin, base_dir: &Path) -> Result<Self, Error> {
        let palette = Palette::of(theme.accent)?;
        let assets = Assets::new(palette, theme.logo.as_deref(), base_dir)?;
        let contact = theme.contact.as_deref().map(Contact::parse).transpose()?;
        let app = theme.name.clone().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| public_url.host.clone());
        let mut catalogue = Catalogue::embedded()?;
        catalogue.replace(&theme.texts);
        let catalogue = Arc::new(catalogue);

        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        functions::add_to(&mut environment, &catalogue);
        let initial = app.chars().next().map(|first| first.to_uppercase().to_string());
        environment.add_global("app", app.clone());
        environment.add_global("initial", initial.unwrap_or_default());
        environment.add_global("contact", Value::from(Serde(&contact)));
        environment.add_global("logo", assets.has_logo());
        let language = |language: Language| {
            context! { tag => language.tag(), name => language.name(), dir => language.direction() }
        };
        environment.add_global("languages", Language::ALL.map(language).to_vec());
        for (name, source) in TEMPLATES {
            environment.add_template(name, source).map_err(|source| Error::Template { name, source })?;
        }
        let built_in = environment.clone();
        for (name, source) in theme
            .templates
            .as_deref()
            .map(|folder| own_templates(&base_dir.join(folder)))
            .transpose()?
            .into_iter()
            .flatten()
        {
            environment.add_template_owned(name, source).map_err(|source| Error::Template { name, source })?;
        }
        let mail = context! {
            accent => palette.light().to_string(),
            on_accent => palette.on_light().to_string(),
            contact => Value::from(Serde(&contact)),
        };
        let mail_color = palette.light().to_string();
        let default = theme.language;
        Ok(Self { environment, built_in, catalogue, default, assets, app, contact, mail_color, mail })
    }

    /// The language that a request asks for, or else the theme's.
    pub fn language(&self, headers: &http::HeaderMap) -> Language {
        let fields = headers.get_all(http::header::ACCEPT_LANGUAGE).into_iter();
        Language::accepted(fields.filter_map(|field| field.to_str().ok())).unwrap_or(self.default)
    }

    /// What mail takes from the theme: `accent`, `on_accent` for text on it, and `contact` with `text` and `href`.
    pub fn for_mail(&self) -> &Value {
        &self.mail
    }

    /// The messages, for what is not a page.
    pub fn messages(&self) -> Messages {
        Messages(Arc::clone(&self.catalogue))
    }

    /// The application's name: the theme's, or the public host.
    pub fn app_name(&self) -> &str {
        &self.app
    }

    /// The page of `view`.
    pub fn show<V: View>(&self, view: &V, frame: Frame<'_>) -> String {
        let values = [Value::from(Serde(view)), Value::from(Serde(frame))];
        self.fill(V::TEMPLATE, merge_maps(values), frame.reader)
    }

    /// A template with its values. Pages extend `layout.html`; with `request_id` and `now` in `values` a page has a
    /// foot with both. A template that fails is logged and gives a plain page.
    pub fn render(&self, template: &str, values: impl Serialize, reader: &Reader) -> String {
        self.fill(template, Value::from(Serde(values)), reader)
    }

    fn fill(&self, template: &str, values: Value, reader: &Reader) -> String {
        let Reader { language, here } = reader;
        let values = merge_maps([values, context! { lang => language.tag(), dir => language.direction(), here }]);
        // An operator's template may ask for what this page has not; then there still is ours.
        for environment in [&self.environment, &self.built_in] {
            let page = environment.get_template(template).and_then(|template| template.render(&values));
            match page {
                Ok(page) => return page,
                Err(error) => {
                    tracing::error!(template, error = &error as &dyn std::error::Error, "failed to render a page");
                }
            }
        }
        PLAIN_PAGE.to_owned()
    }

    /// An asset by its fixed name: `style.css`, `theme.css`, `page.js`, `icon.svg`, and `logo` where there is one. Pages
    /// refer to them below `/.linkgate/assets/`.
    pub fn asset(&self, name: &str) -> Option<Asset> {
        self.assets.find(name)
    }

    /// Counts messages that are missing in `metrics` from now on.
    pub fn count_in(&self, metrics: &Arc<Metrics>) {
        self.catalogue.count_in(metrics);
    }

    /// How many messages were asked for and not there, since the start.
    pub fn missing_messages(&self) -> u64 {
        self.catalogue.missing()
    }
}

/// The templates in a folder of the operator's, each of which has the name of one of ours.
fn own_templates(folder: &Path) -> Result<Vec<(&'static str, String)>, Error> {
    let unreadable = |source| Error::ReadTemplates { path: folder.to_owned(), source };
    let mut templates = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
    }
    files.sort();
    for path in files {
        let is_page = path.extension().is_some_and(|extension| extension == "html");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A folder may serve for mails as well.
        if !is_page || name == "mail.html" {
            continue;
        }
        let Some((name, _)) = TEMPLATES.iter().find(|(known, _)| *known == name) else {
            let reason = "no page has a template of this name".to_owned();
            return Err(Error::OwnTemplate { path, line: 1, reason });
        };
        let source =
            std::fs::read_to_string(&path).map_err(|source| Error::ReadTemplates { path: path.clone(), source })?;
        if let Err(error) = Environment::new().add_template(name, &source) {
            let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            return Err(Error::OwnTemplate { path, line: error.line().unwrap_or(1), reason });
        }
        templates.push((*name, source));
    }
    if templates.is_empty() {
        return Err(Error::NoTemplate { path: folder.to_owned() });
    }
    Ok(templates)
}

/// Why the pages cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The logo is not there or cannot be read.
    #[error("read the logo `{path}`")]
    ReadLogo {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The logo is larger than 64 KiB.
    #[error("use the logo `{path}`: it is larger than 64 KiB")]
    LargeLogo {
        /// The file.
        path: PathBuf,
    },
    /// The logo is not an image that every browser shows.
    #[error("use the logo `{path}`: it is neither SVG, nor PNG, nor WebP")]
    StrangeLogo {
        /// The file.
        path: PathBuf,
    },
    /// The accent is too pale to read.
    #[error(
        "use the accent {accent}: text needs a contrast of 4.5 on a light page and this has {contrast:.1}; \
         {passing} would pass"
    )]
    Accent {
        /// The configured colour.
        accent: Color,
        /// Its contrast on a light page.
        contrast: f64,
        /// The nearest shade of it that can be read.
        passing: Color,
    },
    /// The contact is neither a mail address nor a web page.
    #[error("use the contact `{contact}`: expected an address like \"help@example.com\" or a URL with https://")]
    Contact {
        /// The configured text.
        contact: String,
    },
    /// A message of the operator's cannot be used.
    #[error("use this text: {reason}")]
    Text {
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The folder with the operator's templates, or one of them, cannot be read.
    #[error("read the templates in `{path}`")]
    ReadTemplates {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no template of a page in the folder.
    #[error("find a template of a page, like `sign_in.html`, in `{path}`")]
    NoTemplate {
        /// The folder.
        path: PathBuf,
    },
    /// A template of the operator's does not parse, or is for no page.
    #[error("use the template `{path}:{line}`: {reason}")]
    OwnTemplate {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A template does not parse.
    #[error("read the template `{name}`")]
    Template {
        /// The template.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: minijinja::Error,
    },
    /// The messages of a language do not parse.
    #[error("read the messages of the language `{language}`")]
    Messages {
        /// The language's tag.
        language: &'static str,
        /// What is wrong with them.
        #[source]
        source: toml::de::Error,
    },
}

#[cfg(test)]
mod tests;
