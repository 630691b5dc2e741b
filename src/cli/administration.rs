//! What the commands about users and sessions share: whom they mean, and how they come to the users.

use std::path::Path;
use std::process::ExitCode;

use super::output::{fail, refuse};
use super::{FAILED, WRONG, load_any};
use crate::clock::Clock;
use crate::config::Config;
use crate::gateway::administration::{Administration, Error, Users};
use crate::identity::{Identifier, IdentifierKind};
use crate::mosaic::{self, Mosaic, NewUser, User};

/// Whom a person means: a mail address, a phone number, or an ID.
pub(super) fn who(text: &str) -> Result<Identifier, String> {
    let kind = match text.trim() {
        text if text.contains('@') => IdentifierKind::Email,
        text if text.starts_with('+') => IdentifierKind::PhoneNumber,
        _ => IdentifierKind::UserId,
    };
    kind.read(text).map_err(|error| error.to_string())
}

/// Runs a command on the users of the configuration.
pub(super) fn with_users(file: &Path, command: impl AsyncFnOnce(&Users) -> Result<ExitCode, ExitCode>) -> ExitCode {
    with_config(file, async |config| command(&open_users(config).await?).await)
}

/// Runs a command on the users and sessions of the configuration.
pub(super) fn with_sessions(
    file: &Path,
    command: impl AsyncFnOnce(&Administration) -> Result<ExitCode, ExitCode>,
) -> ExitCode {
    with_config(file, async |config| {
        let opened = Administration::open(config, Clock::system()).await.map_err(|error| not_opened(&error))?;
        command(&opened).await
    })
}

/// Runs a command that may need more than a moment.
pub(super) fn with_config(file: &Path, command: impl AsyncFnOnce(&Config) -> Result<ExitCode, ExitCode>) -> ExitCode {
    match load_any(file) {
        Ok(config) => with_loaded(&config, command),
        Err(code) => code,
    }
}

/// The same for a configuration that is in order.
pub(super) fn with_loaded(
    config: &Config,
    command: impl AsyncFnOnce(&Config) -> Result<ExitCode, ExitCode>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, None, FAILED),
    };
    runtime.block_on(command(config)).unwrap_or_else(|code| code)
}

/// The users of the configuration.
pub(super) async fn open_users(config: &Config) -> Result<Users, ExitCode> {
    Users::open(config, Clock::system()).await.map_err(|error| not_opened(&error))
}

pub(super) fn not_opened(error: &Error) -> ExitCode {
    let code = if error.is_wrong_configuration() { WRONG } else { FAILED };
    fail(error, error.hint().as_deref(), code)
}

/// The user whom `who` names.
pub(super) async fn find(mosaic: &Mosaic, who: &Identifier) -> Result<User, ExitCode> {
    match mosaic.find_user(who).await {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(refuse(&format!("there is no user `{who}`"), None, FAILED)),
        Err(error) => Err(failed(&error)),
    }
}

/// What came of a user who was to be made.
pub(super) enum Made {
    /// There is one more.
    New,
    /// The user is there already, and was not changed.
    There,
    /// There is no such user, and cannot be: Mosaic answers in the same way when a value of theirs is another's.
    Taken,
}

/// What [`Made::Taken`] means.
pub(super) const TAKEN: &str = "another user has the phone number, the user name or the external ID";

/// Makes a user.
pub(super) async fn make(mosaic: &Mosaic, user: &NewUser) -> Result<Made, mosaic::Error> {
    if mosaic.create_user(user).await? {
        return Ok(Made::New);
    }
    let Some(address) = &user.email else { return Ok(Made::There) };
    if user.phone_number.is_none() && user.username.is_none() && user.external_user_id.is_none() {
        return Ok(Made::There);
    }
    let found = mosaic.find_user(&Identifier::Email(address.clone())).await?;
    Ok(if found.is_some() { Made::There } else { Made::Taken })
}

/// Says why a call failed.
pub(super) fn failed(error: &mosaic::Error) -> ExitCode {
    let hint = error.is_transient().then_some("`linkgate doctor` says what is wrong, and where to change it");
    fail(error, hint, FAILED)
}
