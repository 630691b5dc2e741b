//! The threads that read, each with a connection of its own. They never wait for the one that writes.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::{Connection, Result};
use tokio::sync::oneshot;

use super::super::{Error, OpenError};
use super::{failure, file};

/// Reads at the same time.
const CONNECTIONS: usize = 4;

/// Pages that a connection keeps, in KiB: enough for the upper levels of the trees. The rest is the system's to keep,
/// once for all connections.
const PAGES: i64 = 512;

pub(super) struct Readers(Sender<Read>);

type Read = Box<dyn FnOnce(&Connection) + Send>;

impl Readers {
    /// Starts the threads; they end when the readers are dropped.
    ///
    /// Threads of the runtime's pool would do as well, but a busy store would come to have dozens of them, and each
    /// costs memory for as long as it is there.
    pub(super) fn open(path: &Path) -> std::result::Result<Self, OpenError> {
        let (sender, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..CONNECTIONS {
            let connection = file::connect(path)?;
            // A negative size is one in KiB.
            connection.pragma_update(None, "cache_size", -PAGES).map_err(|source| file::unusable(path, source))?;
            start(connection, Arc::clone(&queue)).map_err(|source| file::unusable(path, source))?;
        }
        Ok(Self(sender))
    }

    /// Does `work` on one of the threads, unless the caller has left by then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let read = move |connection: &Connection| {
            if !reply.is_closed() {
                // A caller who leaves just now does not need the answer.
                let _ = reply.send(work(connection).map_err(|cause| failure(Arc::new(cause))));
            }
        };
        self.0.send(Box::new(read)).map_err(|_| Error::Unavailable("the reading threads have ended".into()))?;
        answer.await.unwrap_or_else(|gone| Err(Error::Unavailable(Box::new(gone))))
    }
}

fn start(connection: Connection, queue: Arc<Mutex<Receiver<Read>>>) -> io::Result<()> {
    let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let read_all = move || {
        while let Some(read) = next() {
            read(&connection);
        }
    };
    thread::Builder::new().name("store reader".to_owned()).spawn(read_all).map(drop)
}
