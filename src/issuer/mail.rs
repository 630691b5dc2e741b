//! The issuer's mail: what it says, how it waits, and how it gets to the mail server.
//!
//! A mail is queued in the store before `send` answers, and a worker delivers it (see [`queue`]). In development it
//! lands on the mailbox page instead.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::api::Refusal;
use super::{Inner, Settings};
use crate::clock::{Clock, Timestamp};
use crate::identity::EmailAddress;
use crate::pages::{Language, Letter, Pages};
use crate::setting::{BadSecret, SecretSource};
use crate::store;

mod compose;
mod content;
mod letter;
mod queue;
mod server;
mod smtp;
mod trouble;

use compose::TemplateError;
pub(super) use compose::{Composer, Facts};
pub(super) use content::EmailContent;
pub(super) use queue::{Observers, Outbox};
use server::Server;
use smtp::BadTls;

/// `[issuer.mail]`: the mail server, and what is set in every mail.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The mail server. It must be there; its usual port depends on `security`.
    pub server: Option<Server>,
    /// How the connection is protected.
    pub security: Security,
    /// The account at the server; without it there is no login.
    pub username: Option<String>,
    /// The file that holds the password of the account.
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds it.
    pub password_env: Option<String>,
    /// The address that mail comes from. It must be there.
    pub from: Option<EmailAddress>,
    /// Where answers go; the theme's contact, where that is an address and this is not there.
    pub reply_to: Option<EmailAddress>,
    /// Certificates, in PEM, of authorities that vouch for the server beside those that the system trusts.
    pub certificate_authority_file: Option<PathBuf>,
    /// A folder whose `mail.txt` and `mail.html` replace the built-in ones.
    pub templates: Option<PathBuf>,
}

/// `issuer.mail.security`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS is asked for before anything else is said; a server that does not offer it gets nothing (RFC 3207).
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// None, for a server on this machine.
    None,
}

impl Security {
    /// The port where the setting names none: 587, 465 or 25.
    pub const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Why no mail can be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that must be there is not.
    #[error("find the setting `issuer.mail.{0}`")]
    Missing(&'static str),
    /// The password cannot be had.
    #[error("use the mail server's password")]
    Password(#[from] BadSecret),
    /// The server's certificate could not be checked.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// A template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An address that the mail package does not take.
    #[error("send from this address")]
    Address,
}

impl Config {
    /// The paths in the settings, which are relative to the file that they stand in.
    pub fn paths(&mut self) -> [Option<&mut PathBuf>; 3] {
        [self.password_file.as_mut(), self.certificate_authority_file.as_mut(), self.templates.as_mut()]
    }

    /// What the files say that the settings name is wrong with them, with the setting's name. Relative paths start at
    /// `directory`.
    pub fn problems(&self, directory: &Path) -> Vec<(&'static str, Error)> {
        let mut config = self.clone();
        for path in config.paths().into_iter().flatten() {
            *path = directory.join(&*path);
        }
        let tls = match &config.server {
            Some(server) if config.security != Security::None => {
                smtp::tls(server, config.certificate_authority_file.as_deref()).err()
            }
            _ => None,
        };
        let template = config.templates.as_deref().and_then(|folder| Composer::check(folder).err());
        let tls = tls.map(|error| ("certificate_authority_file", error.into()));
        tls.into_iter().chain(template.map(|error| ("templates", error.into()))).collect()
    }

    /// Connects to the server and logs in; `host` is the name by which linkgate greets it.
    ///
    /// # Errors
    /// With what went wrong, in words for the operator that name no secret.
    pub async fn probe(&self, host: &str) -> Result<(), String> {
        let transport = smtp::Transport::new(self, host).map_err(|error| format!("cannot {error}"))?;
        transport.probe().await
    }

    /// Whether mail would travel unprotected beyond this machine.
    pub fn is_open_to_the_network(&self) -> bool {
        self.security == Security::None && self.server.as_ref().is_some_and(|server| !server.is_loopback())
    }

    /// Where the password is, if there is one.
    pub fn password(&self) -> Option<SecretSource> {
        let file = self.password_file.clone().map(SecretSource::File);
        file.or_else(|| self.password_env.clone().map(SecretSource::Environment))
    }
}

/// A mail, or a text to a phone, as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mail {
    /// An address, or the number of a phone.
    pub(super) to: String,
    #[serde(default)]
    pub(super) language: Language,
    pub(super) subject: String,
    pub(super) text: String,
    /// Empty for a text to a phone.
    pub(super) html: String,
    /// The name it comes from, where that is not the application's.
    pub(super) sender: Option<String>,
    pub(super) link: Option<String>,
    pub(super) code: Option<String>,
    pub(super) sent_at: Timestamp,
    /// When what it carries works no more.
    #[serde(default = "never")]
    pub(super) expires_at: Timestamp,
}

const fn never() -> Timestamp {
    Timestamp::NEVER
}

/// What the issuer needs to write mails and to send them; without a mail server they land in the mailbox.
pub(super) fn prepare(
    config: Option<&Config>,
    settings: &Settings,
    store: &store::Shared,
    clock: &Clock,
    pages: &Pages,
) -> Result<(Composer, Option<Arc<Outbox>>), Error> {
    let theme = pages.for_mail();
    let messages = pages.messages();
    let Some(config) = config else { return Ok((Composer::new(theme, messages, None)?, None)) };
    let composer = Composer::new(theme, messages, config.templates.as_deref())?;
    let head = letter::Head::new(config, &settings.app_name, theme)?;
    let transport = smtp::Transport::new(config, &settings.public_url.host)?;
    let outbox = Outbox::new(Arc::clone(store), clock.clone(), transport, head);
    Ok((composer, Some(Arc::new(outbox))))
}

impl Inner {
    /// Has the mail sent: it is in the queue, or on the mailbox page, when this returns.
    pub(super) async fn deliver(&self, mail: Mail) -> Result<(), Refusal> {
        match &self.outbox {
            Some(outbox) => Ok(outbox.add(&mail).await?),
            None if self.config.mailbox => self.keep(mail).await,
            None => {
                tracing::error!("a mail is not sent: there is neither `issuer.mailbox` nor [issuer.mail]");
                Err(Refusal::Worded(StatusCode::SERVICE_UNAVAILABLE, "Email could not be sent"))
            }
        }
    }

    /// Has a mail sent that the gateway wrote, unless that does not work until `until`.
    pub(super) async fn post(&self, to: &EmailAddress, letter: Letter, until: Timestamp) -> Result<(), Refusal> {
        let Letter { language, subject, text, html, link } = letter;
        let (to, sent_at) = (to.to_string(), self.clock.now());
        let mail =
            Mail { to, language, subject, text, html, sender: None, link, code: None, sent_at, expires_at: until };
        self.deliver(mail).await
    }

    /// Has a text with a code sent to a phone, which works in development only: it lands on the mailbox page.
    pub(super) async fn deliver_text(&self, phone: &str, text: &str, code: &str) -> Result<(), Refusal> {
        if !self.config.mailbox {
            return Err(Refusal::Symbol(
                StatusCode::BAD_REQUEST,
                "external_provider_configuration_error",
                "No provider of text messages is configured".into(),
            ));
        }
        let now = self.clock.now();
        let mail = Mail {
            to: phone.to_owned(),
            language: Language::default(),
            subject: String::new(),
            text: text.to_owned(),
            html: String::new(),
            sender: None,
            link: None,
            code: Some(code.to_owned()),
            sent_at: now,
            expires_at: Timestamp::NEVER,
        };
        self.keep(mail).await
    }
}
