//! `linkgate users`: the users at Mosaic or at the built-in issuer, as an administrator adds, sees and removes them.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::administration::{who, with_sessions, with_users};
use super::import;
use crate::identity::Identifier;

mod add;
mod list;
mod remove;

pub(super) use add::{AT_MOSAIC, address, name_in_parts};

/// What is to be done.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user; one who is there already is left as they are
    Add(add::Arguments),
    /// Show a user
    Show(Named),
    /// List all users
    List {
        /// Print a JSON array instead of columns
        #[arg(long)]
        json: bool,
    },
    /// Remove a user, and end their sessions
    Remove(Removed),
    /// Add the users of a CSV file; a run that was stopped goes on where it was
    Import(import::Arguments),
}

/// A user who is there.
#[derive(Args)]
pub(super) struct Named {
    /// The mail address, the phone number (`+…`) or the ID
    #[arg(value_name = "USER", value_parser = who)]
    user: Identifier,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// A user who is to go.
#[derive(Args)]
pub(super) struct Removed {
    #[command(flatten)]
    named: Named,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Does what is asked for.
pub(super) fn users(file: &Path, command: Command) -> ExitCode {
    match command {
        Command::Add(arguments) => with_users(file, async |users| add::add(users, arguments).await),
        Command::Show(Named { user, json }) => with_users(file, async |users| list::show(users, &user, json).await),
        Command::List { json } => with_users(file, async |users| list::list(users, json).await),
        Command::Remove(Removed { named: Named { user, json }, yes }) => {
            with_sessions(file, async |opened| remove::remove(opened, &user, yes, json).await)
        }
        Command::Import(arguments) => import::import(file, &arguments),
    }
}
