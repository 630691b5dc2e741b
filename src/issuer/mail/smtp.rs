//! The conversation with the mail server (RFC 5321), step by step over lettre's connections.
//!
//! Each step has its own time, and the step is what tells a refused recipient from a refused login: the first is given
//! up, the second is for the operator to mend. TLS is never left out where it is asked for.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};

use super::{Config, Error, Security, Server};
use crate::setting::SecretSource;

/// How long a step may take: connecting with TLS, logging in, each command.
const STEP: Duration = Duration::from_secs(10);
/// How long a farewell may take; nothing depends on it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the server may take to accept a mail that it has in full: it may look through it first.
const ACCEPTING: Duration = Duration::from_secs(60);

/// The mail server, and connections to it that wait for the next mail.
pub(super) struct Transport {
    host: String,
    port: u16,
    hello: ClientId,
    security: Security,
    /// There unless `security` is none.
    tls: Option<TlsParameters>,
    login: Option<(String, SecretSource)>,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

/// Why a mail is not delivered. The reason names no address: it is logged and shown to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server takes no mail from us just now, whoever it is for.
    Server(String),
    /// The server does not take this mail just now.
    Later(String),
    /// The server never takes this mail.
    Refused(String),
}

impl Transport {
    /// The server of the settings, which is told that `name` speaks to it.
    pub(super) fn new(config: &Config, name: &str) -> Result<Self, Error> {
        let server = config.server.as_ref().ok_or(Error::Missing("server"))?;
        let tls = match config.security {
            Security::None => None,
            Security::Starttls | Security::Tls => Some(tls(server, config.certificate_authority_file.as_deref())?),
        };
        Ok(Self {
            host: server.host(),
            port: server.port.unwrap_or(config.security.port()),
            hello: client_id(name),
            security: config.security,
            tls,
            login: config.username.clone().zip(config.password()),
            idle: Mutex::default(),
        })
    }

    /// Hands the message over. When this returns without failure, the server has accepted it.
    pub(super) async fn send(&self, from: &Address, to: &Address, message: &Message) -> Result<(), Failure> {
        const DOING: &str = "hand a mail over";
        let mut connection = self.connection().await?;
        step(STEP, DOING, connection.command(Mail::new(Some(from.clone()), Vec::new()))).await.map_err(Stop::all)?;
        step(STEP, DOING, connection.command(Rcpt::new(to.clone(), Vec::new()))).await.map_err(Stop::this_mail)?;
        step(STEP, DOING, connection.command(Data)).await.map_err(Stop::this_mail)?;
        step(ACCEPTING, DOING, connection.message(&message.formatted())).await.map_err(Stop::this_mail)?;
        self.lock().push(connection);
        Ok(())
    }

    /// Ends the connections that wait for the next mail.
    pub(super) async fn hang_up(&self) {
        let idle = std::mem::take(&mut *self.lock());
        for mut connection in idle {
            tokio::time::timeout(FAREWELL, connection.abort()).await.ok();
        }
    }

    /// Connects, logs in and hangs up.
    pub(super) async fn probe(&self) -> Result<(), String> {
        match self.connect().await {
            Ok(mut connection) => {
                tokio::time::timeout(FAREWELL, connection.abort()).await.ok();
                Ok(())
            }
            Err(stop) => Err(stop.reason),
        }
    }

    /// A connection that still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Failure> {
        loop {
            let idle = self.lock().pop();
            let Some(mut connection) = idle else { return self.connect().await.map_err(Stop::all) };
            if tokio::time::timeout(STEP, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Stop> {
        let wrapper = self.tls.clone().filter(|_| self.security == Security::Tls);
        let address = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(address, Some(STEP), &self.hello, wrapper, None);
        let mut connection = step(STEP, "connect", connecting).await?;
        if let (Security::Starttls, Some(tls)) = (self.security, self.tls.clone()) {
            step(STEP, "start TLS", connection.starttls(tls, &self.hello)).await?;
        }
        if self.tls.is_some() && !connection.is_encrypted() {
            return Err(Stop::new("start TLS", "the connection is not encrypted"));
        }
        if let Some((name, password)) = &self.login {
            // Read each time: an operator mends a wrong password without a restart.
            let password = password.read().map_err(|error| Stop::new("log in", &format!("cannot {error}")))?;
            let credentials = Credentials::new(name.clone(), password.expose().clone());
            step(STEP, "log in", connection.auth(DEFAULT_MECHANISMS, &credentials)).await?;
        }
        Ok(connection)
    }

    /// A list of connections is whole whoever panicked with it.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AsyncSmtpConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that failed.
struct Stop {
    reason: String,
    /// The reply code, where the server gave one.
    code: Option<u16>,
}

impl Stop {
    fn new(doing: &str, reason: &str) -> Self {
        Self { reason: format!("failed to {doing}: {reason}"), code: None }
    }

    /// No mail goes through.
    fn all(self) -> Failure {
        Failure::Server(self.reason)
    }

    /// It is about this mail, unless the server said that it is about us: it closes (421), or wants another login
    /// (530, 534, 535 and 538 of RFC 4954 section 6).
    fn this_mail(self) -> Failure {
        match self.code {
            None | Some(421 | 530 | 534 | 535 | 538) => Failure::Server(self.reason),
            Some(500..) => Failure::Refused(self.reason),
            Some(_) => Failure::Later(self.reason),
        }
    }
}

/// One step within its time.
async fn step<T>(
    limit: Duration,
    doing: &str,
    step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Stop> {
    match tokio::time::timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let code = error.status().map(u16::from);
            Err(Stop { code, ..Stop::new(doing, &reason(&error, code)) })
        }
        Err(_) => Err(Stop::new(doing, &format!("no answer within {} seconds", limit.as_secs()))),
    }
}

/// What happened, without the server's own words: they often repeat the recipient's address.
fn reason(error: &lettre::transport::smtp::Error, code: Option<u16>) -> String {
    match code {
        Some(code) => {
            let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            let status = text.split(' ').next().filter(|word| is_enhanced_status(word));
            format!("the server answered {code}{}", status.map(|status| format!(" {status}")).unwrap_or_default())
        }
        None if error.is_response() => "the server's answer is not SMTP".to_owned(),
        None => error.to_string(),
    }
}

/// Three numbers with dots between them (RFC 3463 section 2).
fn is_enhanced_status(word: &str) -> bool {
    let numbers: Vec<&str> = word.split('.').collect();
    let is_number = |text: &&str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() == 3 && numbers.iter().all(is_number)
}

/// The name in EHLO: an address is written as a literal (RFC 5321 section 4.1.3).
fn client_id(name: &str) -> ClientId {
    match url::Host::parse(name) {
        Ok(url::Host::Ipv4(address)) => ClientId::Ipv4(address),
        Ok(url::Host::Ipv6(address)) => ClientId::Ipv6(address),
        Ok(url::Host::Domain(name)) => ClientId::Domain(name),
        Err(_) => ClientId::default(),
    }
}

/// Why no certificate could be checked.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// The file of the authorities cannot be read.
    #[error("read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate in it.
    #[error("find a certificate in PEM form in `{0}`")]
    NoCertificate(PathBuf),
    /// The certificates cannot be used, or the system has none.
    #[error("trust anybody's certificate")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Certificates are checked against the authorities of the system and those of the file, and must name the server.
pub(super) fn tls(server: &Server, authorities: Option<&Path>) -> Result<TlsParameters, BadTls> {
    let mut builder = TlsParameters::builder(server.host());
    if let Some(path) = authorities {
        let pem = std::fs::read(path).map_err(|source| BadTls::Read { path: path.to_owned(), source })?;
        let is_certificate = String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----");
        let certificate = Certificate::from_pem(&pem).ok().filter(|_| is_certificate);
        builder = builder.add_root_certificate(certificate.ok_or_else(|| BadTls::NoCertificate(path.to_owned()))?);
    }
    builder.build().map_err(|error| BadTls::Unusable(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_code_says_whose_fault_it_is() {
        let check = |code: Option<u16>, expected: fn(String) -> Failure| {
            let stop = Stop { reason: "x".to_owned(), code };
            assert_eq!(stop.this_mail(), expected("x".to_owned()), "{code:?}");
        };
        check(None, Failure::Server);
        for code in [421, 530, 534, 535, 538] {
            check(Some(code), Failure::Server);
        }
        for code in [450, 451, 452] {
            check(Some(code), Failure::Later);
        }
        for code in [550, 551, 552, 553, 554] {
            check(Some(code), Failure::Refused);
        }
    }

    #[test]
    fn only_the_status_of_an_answer_is_shown() {
        for (word, expected) in
            [("5.7.8", true), ("4.2.1", true), ("5.7", false), ("<ada@x.y.z>", false), ("1.2.a", false)]
        {
            assert_eq!(is_enhanced_status(word), expected, "{word}");
        }
    }

    #[test]
    fn an_address_is_greeted_with_as_a_literal() {
        assert_eq!(client_id("app.example.com").to_string(), "app.example.com");
        assert_eq!(client_id("192.0.2.7").to_string(), "[192.0.2.7]");
        assert_eq!(client_id("[2001:db8::1]").to_string(), "[IPv6:2001:db8::1]");
    }
}
