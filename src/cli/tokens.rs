//! `linkgate tokens`: the personal tokens that users made, and the end of them.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::FAILED;
use super::administration::{who, with_sessions};
use super::output::{confirm, counted, fail, print, print_json, refuse, table};
use super::sessions::subject;
use crate::gateway::administration::Administration;
use crate::identity::Identifier;
use crate::personal_token::Listed;

/// What is to be done.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the personal tokens, of one user or of all
    List {
        /// The mail address, the phone number (`+…`) or the ID of the user
        #[arg(long, value_name = "USER", value_parser = who)]
        user: Option<Identifier>,
        /// Print JSON instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Revoke a personal token, or all of a user, at every gateway on the store
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

/// Which tokens.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The ID of the token, as `linkgate tokens list` shows it
    id: Option<String>,
    /// The mail address, the phone number (`+…`) or the ID of the user whose tokens are revoked
    #[arg(long, value_name = "USER", value_parser = who)]
    user: Option<Identifier>,
}

/// Does what is asked for.
pub(super) fn tokens(file: &Path, command: Command) -> ExitCode {
    match command {
        Command::List { user, json } => with_sessions(file, async |opened| list(opened, user.as_ref(), json).await),
        Command::Revoke { which, json, yes } => {
            with_sessions(file, async |opened| revoke(opened, &which, yes, json).await)
        }
    }
}

/// The tokens of a user, or of everybody.
async fn find(opened: &Administration, user: Option<&Identifier>) -> Result<Vec<Listed>, ExitCode> {
    let found = match user {
        Some(user) => opened.personal_tokens.of(&subject(&opened.users.mosaic, user).await?).await,
        None => opened.personal_tokens.all().await,
    };
    found.map_err(|error| fail(&error, None, FAILED))
}

async fn list(opened: &Administration, user: Option<&Identifier>, json: bool) -> Result<ExitCode, ExitCode> {
    let found = find(opened, user).await?;
    if json {
        print_json(&found.iter().map(as_json).collect());
    } else if found.is_empty() {
        print("no tokens\n");
    } else {
        print(&table(&rows(&found)));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(found: &[Listed]) -> Vec<Vec<String>> {
    let header = ["TOKEN", "USER", "NAME", "ROUTES", "MADE", "LAST USED", "ENDS"].map(str::to_owned).to_vec();
    let row = |Listed { token, used_at }: &Listed| {
        let routes = if token.routes.is_empty() { "all".to_owned() } else { token.routes.join(",") };
        let used_at = used_at.map(|moment| moment.to_string()).unwrap_or_default();
        let (made_at, expires_at) = (token.made_at.to_string(), token.expires_at.to_string());
        vec![token.key.id(), token.subject.to_string(), token.name.clone(), routes, made_at, used_at, expires_at]
    };
    [header].into_iter().chain(found.iter().map(row)).collect()
}

fn as_json(Listed { token, used_at }: &Listed) -> Value {
    json!({
        "token": token.key.id(),
        "user_id": token.subject,
        "name": token.name,
        "routes": token.routes,
        "made_at": token.made_at.to_string(),
        "last_used_at": used_at.map(|moment| moment.to_string()),
        "expires_at": token.expires_at.to_string(),
    })
}

async fn revoke(opened: &Administration, which: &Which, yes: bool, json: bool) -> Result<ExitCode, ExitCode> {
    let mut found = find(opened, which.user.as_ref()).await?;
    if let Some(id) = &which.id {
        found.retain(|listed| listed.token.key.id() == *id);
        if found.is_empty() {
            let hint = "`linkgate tokens list` shows those that there are";
            return Err(refuse(&format!("there is no token {id:?}"), Some(hint), FAILED));
        }
    }
    confirm(&format!("Revoke {}?", counted(found.len(), "token")), yes)?;
    for listed in &found {
        opened.personal_tokens.revoke(&listed.token).await.map_err(|error| fail(&error, None, FAILED))?;
    }
    if json {
        print_json(&json!({ "revoked": found.iter().map(|listed| listed.token.key.id()).collect::<Vec<_>>() }));
    } else {
        print(&format!("{} revoked\n", counted(found.len(), "token")));
    }
    Ok(ExitCode::SUCCESS)
}
