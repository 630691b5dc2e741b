//! When the program goes over to something else: to another configuration when SIGHUP asks for it or a file changed, and
//! to another version of itself when SIGUSR2 asks for it, or SIGHUP where there is one.
//!
//! Files are looked at now and then instead of being watched for: that sees an editor that writes another file in their
//! place, a symbolic link that leads elsewhere (Kubernetes), and a mount that tells of nothing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::upgrade::Program;
use crate::config::{Config, Contents, Problems, Purpose};

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(2);
/// A file that changed is looked at again after this long, until it is the same twice: it may only be half written.
const PAUSE: Duration = Duration::from_millis(100);
/// How often at most: a file that never rests is read all the same.
const MOST_PAUSES: usize = 20;

/// What to go over to.
pub(super) enum Next {
    /// This configuration, if it is in order.
    Configuration(Box<Result<Config, Problems>>),
    /// The program that is in the place of this one.
    Program,
}

/// Reads the configuration again when there is a reason to.
pub(super) struct Reloading {
    program: Program,
    file: PathBuf,
    purpose: Purpose,
    hangup: Signal,
    upgrade: Signal,
    watch: bool,
    /// What the files held when they were last read.
    seen: Contents,
    /// What was wrong with them then. They may be mended by a file that nobody knows of yet.
    refused: Option<Problems>,
}

impl Reloading {
    /// Listens for SIGHUP and SIGUSR2 from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(super) fn new(config: &Config, purpose: Purpose) -> io::Result<Self> {
        Ok(Self {
            program: Program::this()?,
            file: config.file.clone(),
            purpose,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            watch: config.reload.watch,
            seen: config.contents.clone(),
            refused: None,
        })
    }

    /// The file of this program.
    pub(super) const fn program(&self) -> &Program {
        &self.program
    }

    /// Waits for the next reason, and reads the configuration. Signals that come meanwhile are one more reason.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            let is_asked = tokio::select! {
                _ = self.upgrade.recv() => return Next::Program,
                _ = self.hangup.recv() => true,
                () = sleep(POLL), if self.watch => false,
            };
            if is_asked && self.program.was_replaced() {
                return Next::Program;
            }
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
            return Next::Configuration(Box::new(read));
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
