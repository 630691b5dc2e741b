//! A real mail server: aiosmtpd from PyPI, with TLS, logins, and the answers that stories need.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::harness::{eventually, free_port};
use crate::program::{Home, Process};
use crate::python::python_with;

const REQUIREMENTS: &str = "tests/gateway/smtp_server/requirements.txt";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/smtp_server/server.py");

/// The password of the account `linkgate`.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The machine that a mail server runs on: a port of its own, a certificate for `localhost`, and who vouches for it.
pub(crate) struct Host {
    pub(crate) port: u16,
    home: Home,
}

/// How a server behaves.
#[derive(Clone)]
pub(crate) struct Manner {
    /// `starttls`, `tls` or `none`.
    pub(crate) security: &'static str,
    /// The right password, where there are logins.
    pub(crate) password: Option<&'static str>,
    /// To whom no mail is taken.
    pub(crate) refused: Option<&'static str>,
    /// To whom no mail is taken the first time.
    pub(crate) busy: Option<&'static str>,
}

impl Manner {
    /// STARTTLS and a login.
    pub(crate) const USUAL: Self = Self { security: "starttls", password: Some(PASSWORD), refused: None, busy: None };
}

impl Host {
    pub(crate) fn new() -> Self {
        let home = Home::with("");
        let (authority, key) = (Authority::new(), KeyPair::generate().unwrap());
        home.write("authority.pem", &authority.pem());
        let certificate = authority.sign(&CertificateParams::new(["localhost".to_owned()]).unwrap(), &key);
        home.write("certificate.pem", &certificate.pem());
        home.write("key.pem", &key.serialize_pem());
        home.write("password", PASSWORD);
        Self { port: free_port(), home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes another password into the file that `[issuer.mail]` names.
    pub(crate) fn write_password(&self, password: &str) {
        self.home.write("password", password);
    }

    /// `[issuer.mail]` for this server, with the right password and its authority.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "server": format!("localhost:{}", self.port),
            "username": "linkgate",
            "password_file": self.path("password"),
            "from": "noreply@mail.example.com",
            "certificate_authority_file": self.path("authority.pem"),
        })
    }

    /// The same for gateway.toml.
    pub(crate) fn toml(&self) -> String {
        let settings = self.settings();
        let lines = settings.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}\n"));
        format!("[issuer.mail]\n{}", lines.collect::<String>())
    }

    /// Starts the server, and returns once it listens.
    pub(crate) async fn start(&self, manner: Manner) -> SmtpServer {
        let python = tokio::task::spawn_blocking(|| python_with("aiosmtpd", REQUIREMENTS)).await.unwrap();
        let settings = json!({
            "port": self.port,
            "security": manner.security,
            "certificate": self.path("certificate.pem"),
            "key": self.path("key.pem"),
            "password": manner.password,
            "refused": manner.refused,
            "busy": manner.busy,
        });
        let mut command = Command::new(python);
        command.arg(PROGRAM).arg(settings.to_string()).stdin(Stdio::piped());
        let server = SmtpServer(Process::spawn(command));
        server.0.text_line("\"listening\"").await;
        server
    }
}

/// A server that runs, until this is dropped.
pub(crate) struct SmtpServer(Process);

impl SmtpServer {
    /// What happened, of one kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.0.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        events.filter(|event| event["event"] == kind).collect()
    }

    /// The logins that were tried, once there are so many.
    pub(crate) async fn logins(&self, count: usize) -> Vec<Value> {
        eventually(async || self.events("login").len() >= count).await;
        self.events("login")
    }

    /// The mails that arrived, once there are so many; the story fails when there are more.
    pub(crate) async fn mails(&self, count: usize) -> Vec<Value> {
        eventually(async || self.events("mail").len() >= count).await;
        let mails = self.events("mail");
        assert_eq!(mails.len(), count, "{mails:#?}");
        mails
    }
}

/// A header of a mail that arrived.
pub(crate) fn header<'m>(mail: &'m Value, name: &str) -> Option<&'m str> {
    let mut found = mail["headers"].as_array().unwrap().iter().filter(|header| header[0] == name);
    let value = found.next()?[1].as_str();
    assert!(found.next().is_none(), "`{name}` is there twice: {mail:#}");
    value
}

/// The link in a mail that arrived.
pub(crate) fn link(mail: &Value) -> &str {
    let text = mail["parts"]["text/plain"].as_str().unwrap();
    text.lines().find(|line| line.contains("/.linkgate/link?token=")).unwrap()
}
