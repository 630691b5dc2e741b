//! When the configuration is read again: when SIGHUP asks for it, and when a file changed.
//!
//! Files are looked at now and then instead of being watched for: that sees an editor that writes another file in their
//! place, a symbolic link that leads elsewhere (Kubernetes), and a mount that tells of nothing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::config::{Config, Contents, Problems, Purpose};

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(2);
/// A file that changed is looked at again after this long, until it is the same twice: it may only be half written.
const PAUSE: Duration = Duration::from_millis(100);
/// How often at most: a file that never rests is read all the same.
const MOST_PAUSES: usize = 20;

/// Reads the configuration again when there is a reason to.
pub(super) struct Reloading {
    file: PathBuf,
    purpose: Purpose,
    hangup: Signal,
    watch: bool,
    /// What the files held when they were last read.
    seen: Contents,
    /// What was wrong with them then. They may be mended by a file that nobody knows of yet.
    refused: Option<Problems>,
}

impl Reloading {
    /// Listens for SIGHUP from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(super) fn new(config: &Config, purpose: Purpose) -> io::Result<Self> {
        Ok(Self {
            file: config.file.clone(),
            purpose,
            hangup: signal(SignalKind::hangup())?,
            watch: config.reload.watch,
            seen: config.contents.clone(),
            refused: None,
        })
    }

    /// Waits for the next reason, and reads the configuration. Signals that come meanwhile are one more reason.
    pub(super) async fn next(&mut self) -> Result<Config, Problems> {
        loop {
            let is_asked = tokio::select! {
                _ = self.hangup.recv() => true,
                () = sleep(POLL), if self.watch => false,
            };
            if !is_asked && !self.is_worth_a_try().await {
                continue;
            }
            let read = Config::load_for(self.purpose, &self.file);
            match &read {
                Ok(config) => {
                    self.watch = config.reload.watch;
                    self.seen = config.contents.clone();
                    self.refused = None;
                }
                Err(problems) if !is_asked && self.refused.as_ref() == Some(problems) => continue,
                Err(problems) => {
                    self.seen = self.seen.again(&self.file);
                    self.refused = Some(problems.clone());
                }
            }
            return read;
        }
    }

    /// Whether the files are others than before, or were not in order then.
    async fn is_worth_a_try(&self) -> bool {
        let mut found = self.seen.again(&self.file);
        if found == self.seen {
            return self.refused.is_some();
        }
        for _ in 0..MOST_PAUSES {
            sleep(PAUSE).await;
            let again = self.seen.again(&self.file);
            if again == found {
                break;
            }
            found = again;
        }
        true
    }
}
