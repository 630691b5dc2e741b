//! `linkgate keys`: the signing keys of the issuer and of assertions.

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
    Rotate {
        /// The key of assertions, which signs in ten minutes, in place of the issuer's
        #[arg(long)]
        assertion: bool,
    },
}

/// Does what is asked for.
pub(super) fn keys(file: &Path, command: &Command) -> ExitCode {
    match command {
        Command::Rotate { assertion } => rotate(file, *assertion),
    }
}

/// Makes a new signing key in the store that the configuration names.
fn rotate(file: &Path, assertion: bool) -> ExitCode {
    let config = match load_any(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    gateway::install_crypto();
    in_runtime(&config, async {
        let rotated = if assertion {
            gateway::rotate_assertion_keys(&config, Clock::system()).await
        } else {
            gateway::rotate_keys(&config, Clock::system()).await
        };
        match rotated {
            Ok(moment) => {
                print(&format!("a new key is shown, and signs from {moment}\n"));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, error.hint().as_deref(), FAILED),
        }
    })
}
