//! The doctor: looks at the live set-up from the gateway's own place, and says of each part whether it is in order, why
//! not, and which setting to change.
//!
//! It changes nothing: no mail is sent, no user is made, and a store gets one record that goes at once. Each part is
//! looked at by a file of its own; they do not wait for each other, and their findings come in a fixed order.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::config::Config;

mod listeners;
mod service;
mod storage;
mod system;
mod upstreams;
mod web;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a part of the set-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// In order.
    Ok,
    /// It works, or may work, and is probably not as it should be.
    Warn,
    /// It does not work.
    Fail,
}

/// What was found about one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part.
    pub check: &'static str,
    /// How it is.
    pub status: Status,
    /// What was seen, and why that is not in order.
    pub message: String,
    /// The setting to change, where one would help.
    pub setting: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, message: message.into(), setting: None }
    }

    fn warn(check: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::Warn, ..Self::ok(check, message) }
    }

    fn fail(check: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::ok(check, message) }
    }

    /// The same, with the setting to change.
    fn change(self, setting: impl Into<String>) -> Self {
        Self { setting: Some(setting.into()), ..self }
    }
}

/// Looks at everything.
pub async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    crate::gateway::install_crypto();
    let (listeners, store, service, mail, upstreams) = tokio::join!(
        listeners::examine(config),
        within("store", storage::examine(config, clock)),
        service::examine(config, clock),
        service::check_mail(config),
        upstreams::examine(config),
    );
    let rest = listeners.into_iter().chain([store]).chain(service).chain(mail).chain(upstreams);
    system::warnings(config).into_iter().chain(rest).chain(system::open_files(config)).collect()
}

/// What a look finds, or that it did not end.
async fn within(check: &'static str, look: impl Future<Output = Finding>) -> Finding {
    let late = |_| Finding::fail(check, format!("no answer within {} seconds", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(late)
}
