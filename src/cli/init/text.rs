//! The answers as a configuration of few lines, each with what it is for.

use clap::ValueEnum;
use serde_json::json;

use crate::origin::{Origin, Scheme};

/// Who sends mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Mail {
    /// Nobody: it is shown on a page
    #[default]
    Mailbox,
    /// The built-in issuer, by a mail server
    Smtp,
    /// A tenant of Transmit Security Mosaic
    Mosaic,
}

impl Mail {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Smtp => "smtp",
            Self::Mosaic => "mosaic",
        }
    }
}

/// What was answered so far, as it was typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) upstream: String,
    pub(super) public_url: String,
    pub(super) mail: Mail,
    pub(super) server: String,
    pub(super) from: String,
    pub(super) username: String,
    pub(super) password_file: String,
    pub(super) region: String,
    pub(super) client_id: String,
    pub(super) client_secret_file: String,
    pub(super) allow: Vec<String>,
}

impl Answers {
    fn origin(&self) -> Option<Origin> {
        Origin::try_from(self.public_url.clone()).ok()
    }

    /// Whether only this machine is to reach the gateway.
    pub(super) fn is_local(&self) -> bool {
        self.origin().is_some_and(|origin| origin.is_loopback())
    }

    /// The domain that the gateway's host is probably of: `example.com` for `app.example.com`.
    pub(super) fn domain(&self) -> Option<String> {
        let host = self.origin()?.host;
        if matches!(url::Host::parse(&host), Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) | Err(_)) {
            return None;
        }
        let above = host.split_once('.').map(|(_, above)| above).filter(|above| above.contains('.'));
        Some(above.unwrap_or(&host).to_owned())
    }

    /// Plain HTTP is for this machine, and then nothing stands in front; else whatever ends TLS does.
    fn listen(&self) -> String {
        let port = self.origin().filter(|origin| origin.scheme == Scheme::Http).map_or(8080, |origin| origin.port);
        format!("127.0.0.1:{port}")
    }
}

/// The configuration. A string of JSON is one of TOML as well.
pub(super) fn text(answers: &Answers) -> String {
    let mut text = "# Every other setting is explained in the gateway.toml that comes with linkgate.\n".to_owned();
    let mut line = |setting: String, meaning: &str| {
        let gap = if setting.starts_with('[') { "\n" } else { "" };
        text.push_str(&format!("{gap}{setting:<43} # {meaning}\n"));
    };
    let string = |name: &str, value: &str| format!("{name} = {}", json!(value));
    line(string("public_url", &answers.public_url), "where visitors reach the gateway");
    let listen = if answers.is_local() { "where it listens" } else { "where it listens, behind whatever ends TLS" };
    line(string("listen", &answers.listen()), listen);
    let allow = format!("allow = {}", json!(answers.allow));
    match answers.mail {
        Mail::Mailbox => {
            line("[issuer]".to_owned(), "the built-in issuer signs visitors in");
            line("mailbox = true".to_owned(), "mail is shown at /.linkgate/mailbox, on this machine only");
        }
        Mail::Smtp => {
            line("[issuer.mail]".to_owned(), "the built-in issuer signs visitors in");
            line(string("server", &answers.server), "STARTTLS; with `security = \"tls\"`, TLS from the start");
            line(string("from", &answers.from), "the address that mail comes from");
            if !answers.username.is_empty() {
                line(string("username", &answers.username), "the account at the server");
                line(string("password_file", &answers.password_file), "holds its password");
            }
        }
        Mail::Mosaic => {
            line("[mosaic]".to_owned(), "the tenant that signs visitors in");
            line(string("region", &answers.region), "where it lives");
            line(string("client_id", &answers.client_id), "the client of its application");
            line(string("client_secret_file", &answers.client_secret_file), "holds the client's secret");
        }
    }
    if answers.mail == Mail::Mosaic {
        line("[sign_in]".to_owned(), "who may come in, of those that Mosaic knows");
    } else {
        line("[sign_up]".to_owned(), "whose account is made when they first ask for a link");
    }
    line(allow, "addresses, domains, or \"*\" for anybody");
    line("[[route]]".to_owned(), "one for each application or part of one");
    line(string("upstream", &answers.upstream), "your application");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Answers {
        Answers {
            upstream: "http://127.0.0.1:3000".to_owned(),
            public_url: "http://localhost:8080".to_owned(),
            allow: vec!["*".to_owned()],
            ..Answers::default()
        }
    }

    #[test]
    fn the_gateway_listens_where_plain_visitors_come() {
        let check = |public_url: &str, expected: &str| {
            assert_eq!(Answers { public_url: public_url.to_owned(), ..local() }.listen(), expected, "{public_url}");
        };
        check("http://localhost:9000", "127.0.0.1:9000");
        check("http://localhost", "127.0.0.1:80");
        check("https://localhost:8443", "127.0.0.1:8080");
        check("https://app.example.com", "127.0.0.1:8080");
    }

    #[test]
    fn the_domain_is_the_one_above_the_host() {
        let check = |public_url: &str, expected: Option<&str>| {
            let answers = Answers { public_url: public_url.to_owned(), ..local() };
            assert_eq!(answers.domain().as_deref(), expected, "{public_url}");
        };
        check("https://app.example.com", Some("example.com"));
        check("https://example.com", Some("example.com"));
        check("https://a.b.example.com", Some("b.example.com"));
        check("https://192.0.2.1", None);
        check("https://[2001:db8::1]", None);
        check("nonsense", None);
    }
}
