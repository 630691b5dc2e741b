//! What is announced by the processes that share the file, this one included.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::super::OpenError;
use super::super::listeners::Listeners;
use super::{file, statement};
use crate::clock::{Clock, Timestamp};

/// How often the file is looked at. Announcements have to arrive within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For so long after a look it is known that there is nothing else to tell.
const IN_TIME: Duration = Duration::from_secs(1);

/// A moment that is long over.
const NEVER: i64 = i64::MIN;

pub(super) struct Feed {
    now: SyncSender<()>,
    /// When the last look began that was told of, in milliseconds of Unix time.
    looked_at: Arc<AtomicI64>,
    clock: Clock,
}

impl Feed {
    /// Starts the thread; it ends when the feed is dropped. What was announced before is not told.
    pub(super) fn start(path: &Path, listeners: Arc<Listeners>, clock: Clock) -> Result<Self, OpenError> {
        let file = file::connect(path)?;
        let last = statement::last_announcement(&file).map_err(|source| file::unusable(path, source))?;
        let (now, wake) = sync_channel(1);
        let looked_at = Arc::new(AtomicI64::new(NEVER));
        let mut follower = Follower {
            file,
            last,
            seen: None,
            failing: false,
            looked_at: Arc::clone(&looked_at),
            clock: clock.clone(),
        };
        thread::Builder::new()
            .name("store feed".to_owned())
            .spawn(move || follower.follow(&wake, &listeners))
            .map_err(|source| file::unusable(path, source))?;
        Ok(Self { now, looked_at, clock })
    }

    /// Looks at once, because this process has announced something.
    pub(super) fn look_now(&self) {
        // When a wake-up already waits, it serves for this one too.
        let _ = self.now.try_send(());
    }

    /// As [`super::Store::has_told_all`].
    pub(super) fn has_told_all(&self) -> bool {
        let looked_at = self.looked_at.load(Ordering::Acquire);
        let now = self.clock.now();
        // A clock that was put back says nothing about how long ago that was.
        now.unix_millis() >= looked_at && now < Timestamp::from_unix_millis(looked_at).plus(IN_TIME)
    }
}

struct Follower {
    file: Connection,
    /// The number of the last announcement that was told.
    last: i64,
    /// `PRAGMA data_version` as it was then: it changes whenever another connection has written.
    seen: Option<i64>,
    failing: bool,
    looked_at: Arc<AtomicI64>,
    clock: Clock,
}

impl Follower {
    fn follow(&mut self, wake: &Receiver<()>, listeners: &Listeners) {
        while wake.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Disconnected) {
            let now = self.clock.now();
            let looked = self.look(listeners);
            if looked.is_ok() {
                self.looked_at.store(now.unix_millis(), Ordering::Release);
            }
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
