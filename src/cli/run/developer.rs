//! What `linkgate dev` runs, and what it says to the person at the terminal: where everything is, and in a line for each
//! reload what changed or what is wrong. Where programs read the log, the log says it all and this says nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::difference::line;
use crate::cli::output::{plain, say};
use crate::cli::refuse;
use crate::config::{Config, Contents, Problem, Purpose};
use crate::gateway::{self, NotReloaded, Reloaded, Running};
use crate::session::Chain;

/// Runs where there is no file. It keeps nothing, so that it leaves nothing behind.
const WITHOUT_FILE: &str = r#"public_url = "http://localhost:8080"
[issuer]
mailbox = true
[sign_up]
allow = ["*"]
[session]
store = "memory"
[[route]]
upstream = "demo"
"#;

/// The configuration where there is no `file`. Once there is one, that counts as a change.
pub(super) fn without_file(file: &Path) -> Result<Config, ExitCode> {
    let mut config = refuse(Config::parse_for(Purpose::Development, WITHOUT_FILE, file))?;
    config.contents = Contents::default();
    Ok(config)
}

/// Somebody who develops at a terminal.
pub(super) struct Developer {
    file: PathBuf,
}

impl Developer {
    /// Whoever started the program for `purpose`, if it is to talk to them.
    pub(super) fn of(config: &Config, purpose: Purpose) -> Option<Self> {
        let reads_along = purpose == Purpose::Development && !config.log.is_for_programs();
        reads_along.then(|| Self { file: config.file.clone() })
    }

    /// Keeps out of the log what they are told here.
    pub(super) fn quiet(config: &mut Config) {
        config.log.told_elsewhere = Some(gateway::RELOADS);
    }

    pub(super) fn greet(&self, config: &Config, running: &Running) {
        say(&self.greeting(config, &format!("http://{}/health/ready", running.admin_address)));
    }

    fn greeting(&self, config: &Config, health: &str) -> String {
        let application = config.public_url.join("/");
        let (mailbox, way) = match &config.issuer {
            Some(issuer) if issuer.mailbox => {
                let mailbox = config.public_url.join("/.linkgate/mailbox");
                (mailbox, "open the application, type any address, and follow the link that lands in the mailbox")
            }
            Some(_) => {
                let mailbox = "none, and mail is sent: others than this machine can reach the gateway".to_owned();
                (mailbox, "open the application, and follow the link that is mailed to you")
            }
            None => (
                "none, as Mosaic sends the mail".to_owned(),
                "open the application, and follow the link that Mosaic mails",
            ),
        };
        let file = self.file.display();
        let change = if config.contents == Contents::default() {
            format!("Your own application: run `linkgate init`; {file} is used as soon as it is there.")
        } else {
            format!("Change {file}: what you save is used within seconds, and what changed is said here.")
        };
        format!(
            "\n  Application   {application}\n  Mailbox       {mailbox}\n  Health        {health}\n\n  Next: {way}.\n  {change}\n\n"
        )
    }

    /// Says what came of a reload.
    pub(super) fn tell(&self, reloaded: &Result<Reloaded, NotReloaded>, warnings: &[Problem]) {
        say(&self.told(reloaded, warnings));
    }

    fn told(&self, reloaded: &Result<Reloaded, NotReloaded>, warnings: &[Problem]) -> String {
        let file = self.file.display();
        match reloaded {
            Ok(reloaded) => {
                let applied = reloaded.applied.iter().map(|change| line(change, ""));
                let waiting = reloaded.waiting.iter().map(|change| line(change, ", after a restart"));
                let as_before = reloaded.as_before.map(|as_before| format!("{as_before}\n"));
                let changes: Vec<String> = applied.chain(waiting).chain(as_before).collect();
                let changes = if changes.is_empty() { "nothing changes\n".to_owned() } else { changes.join("  ") };
                let warnings = warnings.iter().map(|warning| format!("  warning: {}\n", indented(warning)));
                format!("{file}: {changes}{}", warnings.collect::<String>())
            }
            Err(NotReloaded::Problems(problems)) => {
                let problems = problems.iter().map(|problem| format!("  {}\n", indented(problem)));
                format!("{file} is not used, and what ran before goes on:\n{}", problems.collect::<String>())
            }
            Err(NotReloaded::Error(error)) => {
                format!(
                    "{file} is not used, and what ran before goes on: failed to {}\n",
                    plain(&Chain(error).to_string())
                )
            }
        }
    }
}

/// A problem or a warning, with its hint, below another line.
fn indented(problem: &Problem) -> String {
    problem.to_string().lines().map(plain).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "[issuer.mail]\nserver = \"localhost\"\nsecurity = \"none\"\nfrom = \"wiki@example.com\"\n";

    fn config(text: &str) -> Config {
        let read = Config::parse_for(Purpose::Development, text, Path::new("wiki.toml"));
        read.unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn greeting(config: &Config) -> String {
        Developer { file: config.file.clone() }.greeting(config, "http://127.0.0.1:9180/health/ready")
    }

    #[test]
    fn without_a_file_the_demo_application_runs_and_nothing_is_kept() {
        let config = without_file(Path::new("gateway.toml")).unwrap();
        assert_eq!(config.session.store.to_string(), "memory");
        assert!(config.reload.watch && config.issuer.as_ref().is_some_and(|issuer| issuer.mailbox));
        assert_eq!(
            greeting(&config),
            "
  Application   http://localhost:8080/
  Mailbox       http://localhost:8080/.linkgate/mailbox
  Health        http://127.0.0.1:9180/health/ready

  Next: open the application, type any address, and follow the link that lands in the mailbox.
  Your own application: run `linkgate init`; gateway.toml is used as soon as it is there.

"
        );
    }

    #[test]
    fn mail_is_shown_where_only_this_machine_sees_it_and_sent_elsewhere() {
        let check = |public_url: &str, listen: &str, is_shown: bool, expected: &str| {
            let config = config(&format!(
                "public_url = \"{public_url}\"\nlisten = \"{listen}\"\n{MAIL}[reload]\nwatch = false\n\
                 [[route]]\nupstream = \"demo\"\n"
            ));
            let issuer = config.issuer.as_ref().unwrap();
            assert_eq!((issuer.mailbox, issuer.mail.is_none()), (is_shown, is_shown), "{public_url} {listen}");
            assert!(config.reload.watch);
            let greeting = greeting(&config);
            assert!(greeting.contains(&format!("  Mailbox       {expected}\n")), "{greeting}");
            assert!(greeting.contains("Change wiki.toml: what you save is used within seconds"), "{greeting}");
        };
        let sent = "none, and mail is sent: others than this machine can reach the gateway";
        check("http://localhost:8080", "127.0.0.1:8080", true, "http://localhost:8080/.linkgate/mailbox");
        check("http://wiki.localhost:8080", "[::1]:8080", true, "http://wiki.localhost:8080/.linkgate/mailbox");
        check("https://wiki.example.com", "127.0.0.1:8080", false, sent);
        check("http://localhost:8080", "0.0.0.0:8080", false, sent);
        let beyond = "public_url = \"https://wiki.example.com\"\n[issuer]\n[[route]]\nupstream = \"demo\"\n";
        let refused = Config::parse_for(Purpose::Development, beyond, Path::new("wiki.toml")).unwrap_err().to_string();
        assert!(refused.contains("issuer.mailbox: nothing says how the built-in issuer sends its mail"), "{refused}");
    }

    #[test]
    fn a_reload_is_told_in_a_line_for_each_change_or_with_what_is_wrong() {
        let developer = Developer { file: "wiki.toml".into() };
        let base = "public_url = \"http://localhost:8080\"\n[issuer]\n";
        let route = "[[route]]\nupstream = \"demo\"\n";
        let running = config(&format!("{base}{route}"));
        let told = |text: &str| {
            let wanted = config(text);
            developer.told(&Ok(Reloaded::expected(&running, &wanted)), wanted.warnings())
        };
        assert_eq!(
            told(&format!(
                "{base}[[issuer.user]]\nemail = \"ada@example.com\"\n[theme]\nname = \"Wiki\"\n{route}access = \"public\"\nwhole_site = true\n"
            )),
            "wiki.toml: theme.name is now Wiki
  route localhost/ becomes public (allows more than before)
  route localhost/ changes whole_site from false to true
  issuer.user gains ada@example.com, after a restart
  [theme] waits for a restart in mails, on the page behind a link, and in the mailbox
"
        );
        assert_eq!(
            told(&format!("{base}{route}")),
            "wiki.toml: nothing changes
  warning: wiki.toml:2:1: issuer: nobody can sign in: the issuer has no users, and nobody may sign up
    hint: add an `[[issuer.user]]`, or name who may sign up in `sign_up.allow`
"
        );
        let broken = format!("{base}{route}acess = \"public\"\n");
        let problems = Config::parse_for(Purpose::Development, &broken, Path::new("wiki.toml")).unwrap_err();
        assert_eq!(
            developer.told(&Err(problems.into()), &[]),
            "wiki.toml is not used, and what ran before goes on:
  wiki.toml:5:1: route[0].acess: unknown setting `acess`
    hint: did you mean `access`?
"
        );
    }
}
