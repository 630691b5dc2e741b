//! `linkgate keys`: the issuer's signing keys.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::output::{fail, print};
use super::run::in_runtime;
use super::{FAILED, load_any};
use crate::clock::Clock;
use crate::gateway;

/// What is to be done.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a new key that signs in two minutes, and not only when the present one is old
    Rotate,
}

/// Does what is asked for.
pub(super) fn keys(file: &Path, command: &Command) -> ExitCode {
    match command {
        Command::Rotate => rotate(file),
    }
}

/// Makes a new signing key in the store that the configuration names.
fn rotate(file: &Path) -> ExitCode {
    let config = match load_any(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    gateway::install_crypto();
    in_runtime(&config, async {
        match gateway::rotate_keys(&config, Clock::system()).await {
            Ok(moment) => {
                print(&format!("a new key is shown, and signs from {moment}\n"));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, error.hint().as_deref(), FAILED),
        }
    })
}
