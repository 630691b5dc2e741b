//! `linkgate init`: asks four questions and writes a short configuration from the answers.
//!
//! Answers are judged by the same reader as the file: each is put into the file that is being made, and what is wrong with
//! its setting is said at once.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::output::{print, refuse, say};
use super::{FAILED, WRONG};
use crate::config::Config;

mod text;

use text::{Answers, Mail, text};

/// Answers that need not be asked for.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where the application is, like http://127.0.0.1:3000, or its port alone
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where visitors reach the gateway, like https://app.example.com
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// How mail is sent
    #[arg(long, value_name = "HOW")]
    mail: Option<Mail>,
    /// The mail server, for `--mail smtp`
    #[arg(long, value_name = "HOST[:PORT]")]
    mail_server: Option<String>,
    /// The address that mail comes from, for `--mail smtp`
    #[arg(long, value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// The account at the mail server, for `--mail smtp`; empty where it needs none
    #[arg(long, value_name = "NAME")]
    mail_username: Option<String>,
    /// The file that holds that account's password
    #[arg(long, value_name = "FILE")]
    mail_password_file: Option<String>,
    /// Where the tenant lives, for `--mail mosaic`
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The client of the tenant's application, for `--mail mosaic`
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The file that holds that client's secret, for `--mail mosaic`
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<String>,
    /// Who may come in: `@example.com`, addresses, or `*` for anybody; several are separated by commas
    #[arg(long, value_name = "WHO")]
    allow: Option<String>,
    /// Ask nothing: what no flag says is as in the brackets of its question
    #[arg(long)]
    yes: bool,
    /// Write over a file that is there already
    #[arg(long)]
    force: bool,
}

/// Something that has to be known.
struct Question {
    text: &'static str,
    /// The flag that answers it.
    flag: &'static str,
    /// The settings that an answer can be wrong for.
    settings: &'static [&'static str],
    /// Puts an answer into its place, or says what it should be.
    set: fn(&mut Answers, &str) -> Result<(), &'static str>,
}

const UPSTREAM: Question = Question {
    text: "Where is your application?",
    flag: "--upstream",
    settings: &["route"],
    set: |answers, text| {
        let is_port = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        answers.upstream = if is_port { format!("http://127.0.0.1:{text}") } else { text.to_owned() };
        Ok(())
    },
};

const PUBLIC_URL: Question = Question {
    text: "At which address do visitors reach it?",
    flag: "--public-url",
    settings: &["public_url", "listen", "admin"],
    set: |answers, text| {
        text.clone_into(&mut answers.public_url);
        Ok(())
    },
};

const MAIL: Question = Question {
    text: "How is mail sent: mailbox (a page, for trying out), smtp or mosaic?",
    flag: "--mail",
    settings: &["issuer.mailbox"],
    set: |answers, text| {
        answers.mail = Mail::from_str(text, true).map_err(|_| "expected mailbox, smtp or mosaic")?;
        Ok(())
    },
};

const SERVER: Question = Question {
    text: "  Which mail server, with its port?",
    flag: "--mail-server",
    settings: &["issuer.mail.server", "issuer.mail.security"],
    set: |answers, text| {
        text.clone_into(&mut answers.server);
        Ok(())
    },
};

const FROM: Question = Question {
    text: "  Which address does mail come from?",
    flag: "--mail-from",
    settings: &["issuer.mail.from"],
    set: |answers, text| {
        text.clone_into(&mut answers.from);
        Ok(())
    },
};

const USERNAME: Question = Question {
    text: "  Which account at the mail server? Empty for none.",
    flag: "--mail-username",
    settings: &["issuer.mail.username"],
    set: |answers, text| {
        text.clone_into(&mut answers.username);
        Ok(())
    },
};

const PASSWORD_FILE: Question = Question {
    text: "  Which file holds its password?",
    flag: "--mail-password-file",
    settings: &["issuer.mail.password"],
    set: |answers, text| {
        text.clone_into(&mut answers.password_file);
        Ok(())
    },
};

const REGION: Question = Question {
    text: "  Where does the tenant live: us, eu, ca or au?",
    flag: "--region",
    settings: &["mosaic.region", "mosaic.base_url"],
    set: |answers, text| {
        text.clone_into(&mut answers.region);
        Ok(())
    },
};

const CLIENT_ID: Question = Question {
    text: "  Which client of the tenant's application?",
    flag: "--client-id",
    settings: &["mosaic.client_id"],
    set: |answers, text| {
        text.clone_into(&mut answers.client_id);
        Ok(())
    },
};

const CLIENT_SECRET_FILE: Question = Question {
    text: "  Which file holds its secret?",
    flag: "--client-secret-file",
    settings: &["mosaic.client_secret"],
    set: |answers, text| {
        text.clone_into(&mut answers.client_secret_file);
        Ok(())
    },
};

const ALLOW: Question = Question {
    text: "Who may come in: a domain like @example.com, addresses, or * for anybody?",
    flag: "--allow",
    settings: &["sign_in", "sign_up"],
    set: |answers, text| {
        answers.allow = text.split([',', ' ']).filter(|rule| !rule.is_empty()).map(str::to_owned).collect();
        if answers.allow.is_empty() { Err("expected at least one of them") } else { Ok(()) }
    },
};

/// Asks what is not said yet, and writes the file.
pub(super) fn init(file: &Path, arguments: &Arguments) -> ExitCode {
    if !arguments.force && file.exists() {
        return there(file);
    }
    let mut interview = Interview { file, asks: !arguments.yes, answers: Answers::default() };
    if let Err(code) = interview.hold(arguments) {
        return code;
    }
    let written = text(&interview.answers);
    // Each answer was judged by itself; what is wrong between them is not known before the end.
    if let Err(problems) = Config::parse(&written, file) {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return refuse(&problems.join("\nerror: "), None, WRONG);
    }
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).create(true).create_new(!arguments.force);
    match options.open(file).and_then(|mut opened| opened.write_all(written.as_bytes())) {
        Ok(()) => print(&next(file, &interview.answers)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return there(file),
        Err(error) => return refuse(&format!("`{}` cannot be written: {error}", file.display()), None, FAILED),
    }
    ExitCode::SUCCESS
}

fn there(file: &Path) -> ExitCode {
    let hint = "name another file with `--config FILE`, or write over this one with `--force`";
    refuse(&format!("`{}` is there already", file.display()), Some(hint), WRONG)
}

struct Interview<'a> {
    file: &'a Path,
    asks: bool,
    answers: Answers,
}

impl Interview<'_> {
    fn hold(&mut self, given: &Arguments) -> Result<(), ExitCode> {
        self.answer(&UPSTREAM, given.upstream.as_deref(), Some("http://127.0.0.1:3000"))?;
        self.answer(&PUBLIC_URL, given.public_url.as_deref(), Some("http://localhost:8080"))?;
        let is_local = self.answers.is_local();
        let mail = given.mail.map(Mail::as_str);
        self.answer(&MAIL, mail, Some(if is_local { "mailbox" } else { "smtp" }))?;
        match self.answers.mail {
            Mail::Mailbox => {}
            Mail::Smtp => {
                self.answer(&SERVER, given.mail_server.as_deref(), None)?;
                self.answer(&FROM, given.mail_from.as_deref(), None)?;
                self.answer(&USERNAME, given.mail_username.as_deref(), Some(""))?;
                if !self.answers.username.is_empty() {
                    self.answer(&PASSWORD_FILE, given.mail_password_file.as_deref(), None)?;
                }
            }
            Mail::Mosaic => {
                self.answer(&REGION, given.region.as_deref(), Some("us"))?;
                self.answer(&CLIENT_ID, given.client_id.as_deref(), None)?;
                self.answer(&CLIENT_SECRET_FILE, given.client_secret_file.as_deref(), None)?;
            }
        }
        let domain = self.answers.domain().map(|domain| format!("@{domain}"));
        self.answer(&ALLOW, given.allow.as_deref(), if is_local { Some("*") } else { domain.as_deref() })
    }

    /// Takes what a flag says, or asks until there is an answer that can be used.
    fn answer(&mut self, question: &Question, given: Option<&str>, default: Option<&str>) -> Result<(), ExitCode> {
        if let Some(given) = given.or(default.filter(|_| !self.asks)) {
            let refuse =
                |wrong: Wrong| refuse(&format!("`{}`: {}", question.flag, wrong.what), wrong.hint.as_deref(), WRONG);
            return self.take(question, given).map_err(refuse);
        }
        loop {
            let answer = self.ask(question, default)?;
            match self.take(question, &answer) {
                Ok(()) => return Ok(()),
                Err(Wrong { what, hint: Some(hint) }) => say(&format!("  {what}; {hint}\n")),
                Err(Wrong { what, hint: None }) => say(&format!("  {what}\n")),
            }
        }
    }

    /// The next line that is typed or piped; the default where it is empty.
    fn ask(&self, question: &Question, default: Option<&str>) -> Result<String, ExitCode> {
        let mut line = String::new();
        let mut read = 0;
        if self.asks {
            let shown = default.filter(|default| !default.is_empty());
            say(&format!("{} {}", question.text, shown.map(|shown| format!("[{shown}] ")).unwrap_or_default()));
            read = io::stdin().read_line(&mut line).unwrap_or_default();
        }
        if read == 0 {
            say(if self.asks { "\n" } else { "" });
            let hint = "say what `linkgate init --help` lists, and `--yes` for what stands in brackets";
            return Err(refuse(&format!("`{}` is not said, and nobody answers", question.flag), Some(hint), WRONG));
        }
        let answer = line.trim();
        Ok(if answer.is_empty() { default.unwrap_or_default() } else { answer }.to_owned())
    }

    /// Keeps an answer unless the file would be wrong with it.
    fn take(&mut self, question: &Question, answer: &str) -> Result<(), Wrong> {
        let mut answers = self.answers.clone();
        (question.set)(&mut answers, answer).map_err(|what| Wrong { what: what.to_owned(), hint: None })?;
        if let Err(problems) = Config::parse(&text(&answers), self.file) {
            let is_its_own = |key: &str| key.is_empty() || question.settings.iter().any(|name| key.starts_with(name));
            if let Some(problem) = problems.iter().find(|problem| is_its_own(&problem.key)) {
                let seen = problem.seen.as_ref().map(|seen| format!(" (seen: {seen})")).unwrap_or_default();
                return Err(Wrong { what: format!("{}{seen}", problem.message), hint: problem.hint.clone() });
            }
        }
        self.answers = answers;
        Ok(())
    }
}

/// Why an answer cannot be used.
struct Wrong {
    what: String,
    hint: Option<String>,
}

/// What was done, and what to do now.
fn next(file: &Path, answers: &Answers) -> String {
    let named = if file == Path::new("gateway.toml") { String::new() } else { format!(" --config {}", file.display()) };
    let url = answers.public_url.trim_end_matches('/');
    let next = match answers.mail {
        Mail::Mailbox => format!("run `linkgate{named}`, open {url}/, and find the link at {url}/.linkgate/mailbox"),
        Mail::Smtp => format!("`linkgate doctor{named}` tries everything out; then run `linkgate{named}`"),
        Mail::Mosaic => format!(
            "add {url}/.linkgate/callback to the client's redirect URIs; `linkgate doctor{named}` tries everything out; \
             then run `linkgate{named}`"
        ),
    };
    format!("{}: written\nNext: {next}.\n", file.display())
}
