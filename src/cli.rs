//! The command line: what is asked for, and what is said about it.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 wrong usage or configuration. Standard output carries what a
//! command was asked to print; everything else goes to standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Problems, Purpose};

mod administration;
mod assertion;
mod check;
mod difference;
mod doctor;
mod explain;
mod grants;
mod health;
mod import;
mod init;
mod invite;
mod keys;
mod login;
mod output;
mod run;
mod sessions;
mod snippet;
mod tokens;
mod users;

use output::say;

/// Puts magic-link sign-in before a web application.
#[derive(Parser)]
#[command(name = "linkgate", version, about, long_about = None, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration [default: gateway.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The configuration that is meant where none is named.
const FILE: &str = "gateway.toml";

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Run,
    /// Develop on this machine: mail lands on a page, and a file that is saved is used at once; without a file, try the demo
    Dev,
    /// Ask four questions, and write a short configuration from the answers
    Init(init::Arguments),
    /// Run the built-in issuer alone, for other programs and other machines' gateways
    Issuer,
    /// Check the configuration: every problem at once, with its place
    Check {
        /// Print one JSON object instead of lines
        #[arg(long)]
        json: bool,
        /// Check it for `linkgate issuer`
        #[arg(long)]
        issuer: bool,
    },
    /// Say what would become of a request, and which lines of the configuration say so
    Explain(explain::Arguments),
    /// Say in words what another configuration would change
    Diff {
        /// The other configuration
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// Print one JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Look after the signing keys of the issuer and of assertions
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Print a signed assertion as an application gets it, or with `--bad` those that it must refuse
    Assertion(assertion::Arguments),
    /// Ask a running gateway whether it is ready, for container health checks
    Health,
    /// Look for faults in the live set-up, and say which setting to change
    Doctor {
        /// Print a JSON array instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration of another proxy that forwards requests itself and asks the gateway about them
    Snippet(snippet::Asked),
    /// Add, show, list, remove and import users, at Mosaic or at the built-in issuer
    #[command(subcommand)]
    Users(users::Command),
    /// List and end the sessions of a user
    #[command(subcommand)]
    Sessions(sessions::Command),
    /// List and revoke the personal tokens that users made
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// List and end the grants by which people pass routes whose rules do not name them
    Grants(grants::Arguments),
    /// Let somebody pass a route for a while, and mail them a link to it
    Invite(invite::Invite),
    /// Sign this terminal in at a site, by a code typed in a browser, and print a token for curl, git and the like
    Login(login::Login),
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no failure; clap knows which is which.
            error.print().ok();
            return if error.use_stderr() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS };
        }
    };
    let named = arguments.config.as_deref();
    let config = named.unwrap_or(Path::new(FILE));
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run::run(config, Purpose::Gateway),
        Command::Dev => run::develop(config, named.is_some()),
        Command::Init(arguments) => init::init(config, &arguments),
        Command::Issuer => run::run(config, Purpose::IssuerAlone),
        Command::Check { json, issuer } => {
            check::check(config, if issuer { Purpose::IssuerAlone } else { Purpose::Gateway }, json)
        }
        Command::Explain(arguments) => explain::explain(config, &arguments),
        Command::Diff { new, json } => difference::difference(config, &new, json),
        Command::Keys { command } => keys::keys(config, &command),
        Command::Assertion(arguments) => assertion::assertion(config, &arguments),
        Command::Health => health::health(config),
        Command::Doctor { json } => doctor::doctor(config, json),
        Command::Snippet(asked) => snippet::snippet(config, &asked),
        Command::Users(command) => users::users(config, command),
        Command::Sessions(command) => sessions::sessions(config, command),
        Command::Tokens(command) => tokens::tokens(config, command),
        Command::Grants(arguments) => grants::grants(config, arguments),
        Command::Invite(invite) => invite::invite(config, &invite),
        Command::Login(login) => login::login(&login),
    }
}

/// Loads the configuration, or says everything that is wrong with it.
fn load(file: &Path, purpose: Purpose) -> Result<Config, ExitCode> {
    refuse(Config::load_for(purpose, file))
}

/// The same where it makes no difference whether the file is for a gateway or for the issuer alone.
fn load_any(file: &Path) -> Result<Config, ExitCode> {
    refuse(any(file))
}

fn any(file: &Path) -> Result<Config, Problems> {
    Config::load(file).or_else(|problems| Config::load_for(Purpose::IssuerAlone, file).map_err(|_| problems))
}

fn refuse(loaded: Result<Config, Problems>) -> Result<Config, ExitCode> {
    let refuse = |problems: Problems| {
        for problem in &problems {
            say(&format!("error: {problem}\n"));
        }
        ExitCode::from(WRONG)
    };
    loaded.map_err(refuse)
}
