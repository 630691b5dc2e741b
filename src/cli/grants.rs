//! `linkgate grants`: who may pass routes whose rules do not name them, and the end of it.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::FAILED;
use super::administration::with_sessions;
use super::output::{confirm, counted, fail, print, print_json, refuse, table};
use super::users::address;
use crate::gateway::administration::Administration;
use crate::grant::Grant;
use crate::identity::EmailAddress;

/// What is to be done: without a word, a list.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which are listed, and how.
#[derive(Args)]
struct List {
    /// Only those of this mail address
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    user: Option<EmailAddress>,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List the grants, of one address or of all (the default)
    List(List),
    /// End a grant, or all of an address, at every gateway on the store
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Print JSON instead of lines
        #[arg(long)]
        json: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which grants.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The ID of the grant, as `linkgate grants` shows it
    id: Option<String>,
    /// The mail address whose grants are ended
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    user: Option<EmailAddress>,
}

/// Does what is asked for.
pub(super) fn grants(file: &Path, arguments: Arguments) -> ExitCode {
    match arguments.command.unwrap_or(Command::List(arguments.list)) {
        Command::List(List { user, json }) => {
            with_sessions(file, async |opened| list(opened, user.as_ref(), json).await)
        }
        Command::Revoke { which, json, yes } => {
            with_sessions(file, async |opened| revoke(opened, &which, yes, json).await)
        }
    }
}

/// The grants of an address, or of everybody.
async fn find(opened: &Administration, user: Option<&EmailAddress>) -> Result<Vec<Grant>, ExitCode> {
    let mut found = opened.grants.all().await.map_err(|error| fail(&error, None, FAILED))?;
    found.retain(|grant| user.is_none_or(|user| grant.address == *user));
    Ok(found)
}

async fn list(opened: &Administration, user: Option<&EmailAddress>, json: bool) -> Result<ExitCode, ExitCode> {
    let found = find(opened, user).await?;
    if json {
        print_json(&found.iter().map(as_json).collect());
    } else if found.is_empty() {
        print("no grants\n");
    } else {
        print(&table(&rows(&found)));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(found: &[Grant]) -> Vec<Vec<String>> {
    let header = ["GRANT", "ADDRESS", "ROUTE", "GIVEN BY", "GIVEN", "ENDS"].map(str::to_owned).to_vec();
    let row = |grant: &Grant| {
        let Grant { address, route, given_by, given_at, expires_at } = grant;
        let (given_at, expires_at) = (given_at.to_string(), expires_at.to_string());
        vec![grant.key().id(), address.to_string(), route.clone(), given_by.to_string(), given_at, expires_at]
    };
    [header].into_iter().chain(found.iter().map(row)).collect()
}

fn as_json(grant: &Grant) -> Value {
    json!({
        "grant": grant.key().id(),
        "address": grant.address,
        "route": grant.route,
        "given_by": grant.given_by.to_string(),
        "given_at": grant.given_at.to_string(),
        "expires_at": grant.expires_at.to_string(),
    })
}

async fn revoke(opened: &Administration, which: &Which, yes: bool, json: bool) -> Result<ExitCode, ExitCode> {
    let mut found = find(opened, which.user.as_ref()).await?;
    if let Some(id) = &which.id {
        found.retain(|grant| grant.key().id() == *id);
        if found.is_empty() {
            let hint = "`linkgate grants` shows those that there are";
            return Err(refuse(&format!("there is no grant {id:?}"), Some(hint), FAILED));
        }
    }
    confirm(&format!("End {}?", counted(found.len(), "grant")), yes)?;
    for grant in &found {
        opened.grants.revoke(grant.key()).await.map_err(|error| fail(&error, None, FAILED))?;
    }
    if json {
        print_json(&json!({ "revoked": found.iter().map(|grant| grant.key().id()).collect::<Vec<_>>() }));
    } else {
        print(&format!("{} revoked\n", counted(found.len(), "grant")));
    }
    Ok(ExitCode::SUCCESS)
}
