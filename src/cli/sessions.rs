//! `linkgate sessions`: who is signed in where, and the end of it.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::FAILED;
use super::administration::{failed, find, who, with_sessions};
use super::output::{confirm, counted, fail, print, print_json, table};
use crate::gateway::administration::Administration;
use crate::identity::{Identifier, Subject};
use crate::mosaic::{self, ListedSession, Mosaic};
use crate::secret::fingerprint;
use crate::session::Listed;

/// Characters of a name that is shown in place of a whole one.
const SHORT: usize = 12;

/// What is to be done.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the sessions of a user, at the gateway and at Mosaic
    List(Named),
    /// End the sessions of a user, at every gateway on the store and at Mosaic
    Revoke {
        #[command(flatten)]
        named: Named,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Whose sessions.
#[derive(Args)]
pub(super) struct Named {
    /// The mail address, the phone number (`+…`) or the ID, which works even when Mosaic is out of reach
    #[arg(value_name = "USER", value_parser = who)]
    user: Identifier,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// Does what is asked for.
pub(super) fn sessions(file: &Path, command: Command) -> ExitCode {
    match command {
        Command::List(Named { user, json }) => with_sessions(file, async |opened| list(opened, &user, json).await),
        Command::Revoke { named: Named { user, json }, yes } => {
            with_sessions(file, async |opened| revoke(opened, &user, yes, json).await)
        }
    }
}

/// The user's lasting name: what was typed where that is one, so that a user can be shut out while Mosaic is away.
pub(super) async fn subject(mosaic: &Mosaic, who: &Identifier) -> Result<Subject, ExitCode> {
    if who.kind() == "user_id"
        && let Ok(subject) = Subject::try_from(who.value().to_owned())
    {
        return Ok(subject);
    }
    find(mosaic, who).await.map(|user| user.subject)
}

async fn list(opened: &Administration, who: &Identifier, json: bool) -> Result<ExitCode, ExitCode> {
    let mosaic = &opened.users.mosaic;
    let subject = subject(mosaic, who).await?;
    let here = opened.sessions.of(&subject).await.map_err(|error| fail(&error, None, FAILED))?;
    let there = match mosaic.sessions_of(&subject).await {
        Err(mosaic::Error::UserNotFound) => Ok(Vec::new()),
        there => there,
    };
    let none = Vec::new();
    let known = there.as_ref().unwrap_or(&none);
    if json {
        print_json(&json!({
            "user_id": subject,
            "gateway": here.iter().map(here_as_json).collect::<Vec<_>>(),
            "mosaic": there.as_ref().ok().map(|there| there.iter().map(there_as_json).collect::<Vec<_>>()),
        }));
    } else if here.is_empty() && known.is_empty() && there.is_ok() {
        print(&format!("{subject}: no sessions\n"));
    } else {
        print(&table(&rows(&here, known)));
    }
    there.map(|_| ExitCode::SUCCESS).map_err(|error| failed(&error))
}

fn rows(here: &[Listed], there: &[ListedSession]) -> Vec<Vec<String>> {
    let header =
        ["WHERE", "SESSION", "BEGAN", "LAST USED", "ENDS", "STREAMS", "BROWSER", "FROM"].map(str::to_owned).to_vec();
    let moment = |moment: &Option<String>| moment.clone().unwrap_or_default();
    let here = here.iter().map(|session| {
        let (used_at, streams) = (session.used_at.to_string(), session.streams.to_string());
        let began = session.beginning.as_ref();
        let began_at = began.map(|began| began.at.to_string()).unwrap_or_default();
        let browser = began.map(|began| began.whence.agent.to_string()).unwrap_or_default();
        let client = began.map(|began| began.whence.client.to_string()).unwrap_or_default();
        vec!["gateway".to_owned(), short_key(session), began_at, used_at, String::new(), streams, browser, client]
    });
    let there = there.iter().map(|session| {
        let (began, ends) = (moment(&session.start_time), moment(&session.expiration_time));
        let none = String::new;
        vec!["mosaic".to_owned(), short_name(session), began, none(), ends, none(), none(), none()]
    });
    [header].into_iter().chain(here).chain(there).collect()
}

fn here_as_json(session: &Listed) -> Value {
    let began = session.beginning.as_ref();
    json!({
        "session": short_key(session),
        "began_at": began.map(|began| began.at.to_string()),
        "browser": began.map(|began| began.whence.agent.to_string()),
        "client": began.map(|began| began.whence.client),
        "last_used_at": session.used_at.to_string(),
        "open_streams": session.streams,
    })
}

fn there_as_json(session: &ListedSession) -> Value {
    let (began, ends) = (&session.start_time, &session.expiration_time);
    json!({ "session": short_name(session), "started_at": began, "expires_at": ends })
}

fn short_key(session: &Listed) -> String {
    session.key.to_text().chars().take(SHORT).collect()
}

/// Whoever has the ID of a session at Mosaic can use it, so it is not shown.
fn short_name(session: &ListedSession) -> String {
    fingerprint(session.session_id.expose()).chars().take(SHORT).collect()
}

async fn revoke(opened: &Administration, who: &Identifier, yes: bool, json: bool) -> Result<ExitCode, ExitCode> {
    let mosaic = &opened.users.mosaic;
    let subject = subject(mosaic, who).await?;
    confirm(&format!("End every session of {who}?"), yes)?;
    // Mosaic first, so that no gateway begins a session again from one of Mosaic's; but it is not waited for.
    let there = mosaic.end_sessions_of(&subject).await;
    let ended = opened.sessions.end_all_of(&subject).await.map_err(|error| fail(&error, None, FAILED))?;
    if json {
        print_json(&json!({ "user_id": subject, "gateway_sessions_ended": ended, "mosaic_ended": there.is_ok() }));
    } else {
        let at_mosaic = if there.is_ok() { "and all at Mosaic" } else { "but none at Mosaic" };
        print(&format!("{who}: {} ended at the gateway, {at_mosaic}\n", counted(ended, "session")));
    }
    there.map(|()| ExitCode::SUCCESS).map_err(|error| failed(&error))
}
