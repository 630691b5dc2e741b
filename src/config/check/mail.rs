//! The checks of the issuer's mail: `mailbox` or `[issuer.mail]`.

use super::Check;
use crate::issuer::Config;
use crate::session::Chain;
use crate::setting::SecretSource;

impl Check<'_> {
    pub(super) fn mail(&mut self, issuer: &Config) {
        match (issuer.mailbox, &issuer.mail) {
            (true, Some(_)) => {
                let message = "stands beside `mailbox = true`, which shows mail instead of sending it";
                self.refuse("issuer.mail", message, "keep one of the two");
            }
            (false, None) if !self.is_broken("issuer.mailbox") && !self.is_broken("issuer.mail") => {
                let hint = "name your mail server in [issuer.mail], or set `mailbox = true` to try linkgate out";
                self.refuse("issuer.mailbox", "nothing says how the built-in issuer sends its mail", hint);
            }
            _ => {}
        }
        let Some(mail) = &issuer.mail else { return };
        if self.lacks("issuer.mail.server") {
            let hint = "name the server that takes your mail, like `server = \"smtp.example.com:587\"`";
            self.refuse("issuer.mail.server", "is missing", hint);
        }
        if self.lacks("issuer.mail.from") {
            let hint = "set the address that mail comes from, like `from = \"noreply@example.com\"`";
            self.refuse("issuer.mail.from", "is missing", hint);
        }
        if mail.is_open_to_the_network() {
            let message = "is for a mail server on this machine only: on a network, links could be read on their way";
            self.refuse("issuer.mail.security", message, "use \"starttls\" or \"tls\"");
        }
        self.mail_login(issuer);
        for (name, error) in mail.problems(self.directory) {
            self.refuse(&format!("issuer.mail.{name}"), format!("cannot {}", Chain(&error)), "");
        }
    }

    fn mail_login(&mut self, issuer: &Config) {
        let Some(mail) = &issuer.mail else { return };
        let source = match (&mail.password_file, &mail.password_env) {
            (Some(_), Some(_)) => {
                let message = "stands beside `password_file`, and there is only one password";
                return self.refuse("issuer.mail.password_env", message, "keep one of the two");
            }
            (Some(path), None) => Some(SecretSource::File(self.directory.join(path))),
            (None, Some(name)) => Some(SecretSource::Environment(name.clone())),
            (None, None) => None,
        };
        let is_broken = self.is_broken("issuer.mail");
        match (&mail.username, &source) {
            (Some(_), None) if !is_broken => {
                let hint = "name the file that holds it, or its environment variable in `password_env`";
                self.refuse("issuer.mail.password_file", "is missing: there is a `username`", hint);
            }
            (None, Some(_)) if !is_broken => {
                self.refuse(
                    "issuer.mail.username",
                    "is missing: there is a password",
                    "name the account at the server",
                );
            }
            _ => {}
        }
        if let Some(source) = source {
            self.secret("issuer.mail.password", &source);
        }
    }
}
