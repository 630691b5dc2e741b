//! The way for mails of the gateway's own. Who carries them, it is handed.

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::pages::Letter;

/// Carries mails.
#[async_trait]
pub trait Post: Send + Sync {
    /// Has a mail sent, or given up at `until`: it is on its way when this returns.
    ///
    /// # Errors
    /// When it is not.
    async fn send(&self, to: &EmailAddress, letter: Letter, until: Timestamp) -> Result<(), Unsent>;

    /// Whether mails may well be taken now: false where it is known beforehand that they are not.
    async fn is_open(&self) -> bool;
}

/// A mail is not on its way. Why, is in the log.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("send a mail")]
pub struct Unsent;
