//! What is announced by the processes that share the file, this one included.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::super::OpenError;
use super::super::listeners::Listeners;
use super::{file, statement};

/// How often the file is looked at. Announcements have to arrive within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Feed(SyncSender<()>);

impl Feed {
    /// Starts the thread; it ends when the feed is dropped. What was announced before is not told.
    pub(super) fn start(path: &Path, listeners: Arc<Listeners>) -> Result<Self, OpenError> {
        let file = file::connect(path)?;
        let last = statement::last_announcement(&file).map_err(|source| file::unusable(path, source))?;
        let (now, wake) = sync_channel(1);
        let mut follower = Follower { file, last, seen: None, failing: false };
        thread::Builder::new()
            .name("store feed".to_owned())
            .spawn(move || follower.follow(&wake, &listeners))
            .map_err(|source| file::unusable(path, source))?;
        Ok(Self(now))
    }

    /// Looks at once, because this process has announced something.
    pub(super) fn look_now(&self) {
        // When a wake-up already waits, it serves for this one too.
        let _ = self.0.try_send(());
    }
}

struct Follower {
    file: Connection,
    /// The number of the last announcement that was told.
    last: i64,
    /// `PRAGMA data_version` as it was then: it changes whenever another connection has written.
    seen: Option<i64>,
    failing: bool,
}

impl Follower {
    fn follow(&mut self, wake: &Receiver<()>, listeners: &Listeners) {
        while wake.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Disconnected) {
            let looked = self.look(listeners);
            if let (Err(error), false) = (&looked, self.failing) {
                tracing::warn!(error = %error, "announcements in the store file cannot be read for now");
            }
            self.failing = looked.is_err();
        }
    }

    fn look(&mut self, listeners: &Listeners) -> rusqlite::Result<()> {
        let version = self.file.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.seen == Some(version) {
            return Ok(());
        }
        let (announcements, newest) = statement::announcements_after(&self.file, self.last)?;
        announcements.iter().for_each(|announcement| listeners.tell(announcement));
        self.last = newest;
        self.seen = Some(version);
        Ok(())
    }
}
