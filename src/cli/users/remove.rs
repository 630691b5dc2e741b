//! `linkgate users remove`: the user, and every way in that is open already.

use std::process::ExitCode;

use serde_json::json;

use super::super::FAILED;
use super::super::administration::{failed, find};
use super::super::output::{confirm, counted, fail, plain, print, print_json};
use crate::gateway::administration::Administration;
use crate::identity::Identifier;
use crate::mosaic::User;

pub(super) async fn remove(
    opened: &Administration,
    who: &Identifier,
    yes: bool,
    json: bool,
) -> Result<ExitCode, ExitCode> {
    let mosaic = &opened.users.mosaic;
    let user = find(mosaic, who).await?;
    let shown = shown(&user);
    confirm(&format!("Remove {shown} and end their sessions?"), yes)?;
    // First, because a client of Mosaic reaches the users of its own application only.
    mosaic.end_sessions_of(&user.subject).await.map_err(|error| failed(&error))?;
    mosaic.remove_user(&user.subject).await.map_err(|error| failed(&error))?;
    // Last, so that nobody comes back in between.
    let ended = opened.sessions.end_all_of(&user.subject).await.map_err(|error| {
        let hint = format!("they are removed; end their sessions with `linkgate sessions revoke {}`", user.subject);
        fail(&error, Some(&hint), FAILED)
    })?;
    if json {
        print_json(&json!({ "removed": true, "user_id": user.subject, "sessions_ended": ended }));
    } else {
        print(&format!("{shown}: removed, {} ended\n", counted(ended, "session")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The address and the ID, for a question and its answer.
fn shown(user: &User) -> String {
    match &user.email {
        Some(address) => format!("{address} ({})", user.subject),
        None => plain(user.subject.as_str()),
    }
}
