//! The one thread that writes. What queues up while it writes goes into the next transaction together.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, Result};
use tokio::sync::{mpsc, oneshot};

use super::super::Error;
use super::{failure, statement};
use crate::clock::Clock;

/// Writes that may wait, and so the most that one transaction holds. A caller beyond it waits for a place.
const QUEUE: usize = 1024;

/// Writes between two sweeps of expired rows; a sweep frees more rows than these can add.
const SWEEP_EVERY: usize = 256;

/// Expired rows stay this long, so that sweeping never decides anything, whatever the clock does.
const SWEEP_GRACE: Duration = Duration::from_secs(60);

pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

/// A write that waits for its turn. It may be done twice when the transaction it was part of fails.
trait Job: Send {
    fn work(&mut self, file: &Connection) -> Result<()>;
    fn answer(self: Box<Self>, outcome: std::result::Result<(), Error>);
}

struct Write<W, T> {
    work: W,
    found: Option<T>,
    reply: oneshot::Sender<std::result::Result<T, Error>>,
}

impl<W: Fn(&Connection) -> Result<T> + Send, T: Send> Job for Write<W, T> {
    fn work(&mut self, file: &Connection) -> Result<()> {
        self.found = Some((self.work)(file)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: std::result::Result<(), Error>) {
        let Self { found, reply, .. } = *self;
        let answer = outcome.map(|()| found.expect("a job is answered with success after its work succeeded"));
        // A caller who has left does not need the answer.
        let _ = reply.send(answer);
    }
}

impl Writer {
    /// Starts the thread; it ends when the writer is dropped and everything queued is written.
    pub(super) fn start(file: Connection, clock: Clock) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new().name("store writer".to_owned()).spawn(move || write_all(&file, &clock, receiver))?;
        Ok(Self(sender))
    }

    /// Does `work` in a transaction, and answers when it is committed. Once queued it happens, even if the caller leaves.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work, found: None, reply });
        self.0.send(job).await.map_err(|_| Error::Unavailable("the writing thread has ended".into()))?;
        answer.await.unwrap_or_else(|gone| Err(Error::Unavailable(Box::new(gone))))
    }
}

fn write_all(file: &Connection, clock: &Clock, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut since_sweep = 0;
    let mut jobs = Vec::new();
    while queue.blocking_recv_many(&mut jobs, QUEUE) > 0 {
        since_sweep += jobs.len();
        write_together(file, &mut jobs);
        if since_sweep >= SWEEP_EVERY {
            since_sweep = 0;
            if let Err(error) = statement::sweep(file, clock.now().minus(SWEEP_GRACE)) {
                tracing::warn!(error = %error, "expired records stay in the store file for now");
            }
        }
    }
}

/// Writes all `jobs` in one transaction, or, when one of them fails, each in its own.
fn write_together(file: &Connection, jobs: &mut Vec<Box<dyn Job>>) {
    match transact(file, jobs) {
        Ok(()) => jobs.drain(..).for_each(|job| job.answer(Ok(()))),
        Err(Failed::ToBegin(cause)) => refuse(jobs, cause),
        Err(Failed::ToWrite(cause)) if jobs.len() == 1 => refuse(jobs, cause),
        Err(Failed::ToWrite(_)) => write_apart(file, jobs),
    }
}

fn write_apart(file: &Connection, jobs: &mut Vec<Box<dyn Job>>) {
    let mut waiting = std::mem::take(jobs).into_iter();
    while let Some(job) = waiting.next() {
        let mut alone = vec![job];
        match transact(file, &mut alone) {
            Ok(()) => alone.drain(..).for_each(|job| job.answer(Ok(()))),
            Err(Failed::ToWrite(cause)) => refuse(&mut alone, cause),
            // Somebody else holds the file: the others would only wait as long, one after another.
            Err(Failed::ToBegin(cause)) => {
                alone.extend(waiting.by_ref());
                refuse(&mut alone, cause);
            }
        }
    }
}

enum Failed {
    ToBegin(rusqlite::Error),
    ToWrite(rusqlite::Error),
}

fn transact(file: &Connection, jobs: &mut [Box<dyn Job>]) -> std::result::Result<(), Failed> {
    file.execute_batch("BEGIN IMMEDIATE").map_err(Failed::ToBegin)?;
    let written = jobs.iter_mut().try_for_each(|job| job.work(file)).and_then(|()| file.execute_batch("COMMIT"));
    written.map_err(|cause| {
        // A full disk makes SQLite roll back by itself.
        if !file.is_autocommit() {
            let _ = file.execute_batch("ROLLBACK");
        }
        Failed::ToWrite(cause)
    })
}

fn refuse(jobs: &mut Vec<Box<dyn Job>>, cause: rusqlite::Error) {
    let cause = Arc::new(cause);
    jobs.drain(..).for_each(|job| job.answer(Err(failure(Arc::clone(&cause)))));
}
