//! The calls of an import: a bounded number at a time, patient with a Mosaic that is busy, and no longer than it makes sense.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::super::administration::{Made, TAKEN, make};
use super::{Arguments, Progress, Report, Row, Sheet};
use crate::clock::{Clock, Timestamp};
use crate::gateway::administration::Users;
use crate::mosaic::{Error, Mosaic, NewUser};
use crate::session::Chain;

/// Further tries of a row whose call failed for a reason that passes.
const TRIES: u32 = 5;
/// The pause before the first of them, and, doubled each time, the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Rows in succession that Mosaic could not serve, after which there is no point in going on.
const HOPELESS: usize = 3;
/// The longest that a rate limit is waited for.
const LONGEST_LIMIT: Duration = Duration::from_secs(3600);
/// How often it is noted what is done.
const SAVE: Duration = Duration::from_secs(2);

/// Why an import ends before the file does.
pub(super) enum Stopped {
    /// Somebody pressed Ctrl-C, or the system asked for an end.
    ByTheOperator,
    /// Further calls would fail as this one did.
    By(Error),
    /// A row failed, and that was to be the end.
    ByARow,
}

/// How a row came out.
enum Outcome {
    Done {
        is_new: bool,
    },
    Failed(Error),
    /// There is no such user, and cannot be.
    Taken,
    /// It was not called, or not for good.
    Left,
}

/// Imports the rows that are not done. Gives back why it ended early, if it did.
pub(super) async fn import(
    users: &Users,
    sheet: &Sheet,
    arguments: &Arguments,
    progress: &mut Progress,
    report: &mut Report,
) -> Option<Stopped> {
    let mut todo = Vec::new();
    for (index, row) in sheet.rows.iter().enumerate() {
        if progress.is_done(index) {
            continue;
        }
        match &row.user {
            Ok(user) => todo.push((index, row, user)),
            Err(message) => {
                progress.failed(index);
                report.failed(row.line, message.clone());
                if arguments.stop_on_error {
                    return Some(Stopped::ByARow);
                }
            }
        }
    }
    let (stop, stopping) = watch::channel(false);
    let caller = &Caller { mosaic: &users.mosaic, clock: Clock::system(), limited_until: Cell::default(), stopping };
    let mut run = Run { progress, report, stop_on_error: arguments.stop_on_error, unserved: 0, stopped: None };
    let is_on = || std::future::ready(!*stop.borrow());
    let calls = stream::iter(todo)
        .take_while(|_| is_on())
        .map(|(index, row, user)| async move { (index, row, caller.call(user).await) })
        .buffer_unordered(usize::from(arguments.parallel));
    let mut calls = pin!(calls);
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    let (mut ticks, mut saves) = (every(run.report.interval()), every(SAVE));
    loop {
        tokio::select! {
            ended = calls.next() => match ended {
                Some((index, row, outcome)) => run.note(index, row, outcome),
                None => break,
            },
            () = asked_to_end(&mut signals) => {
                if run.stopped.is_some() {
                    break;
                }
                run.report.remark("stopping: the calls under way are finished");
                run.stopped = Some(Stopped::ByTheOperator);
            }
            _ = ticks.tick() => run.report.tick(),
            _ = saves.tick() => run.progress.save(),
        }
        if run.stopped.is_some() {
            stop.send_replace(true);
        }
    }
    run.stopped
}

/// Waits for Ctrl-C or the system's request. Without those signals, their usual effect ends the program.
async fn asked_to_end([interrupt, terminate]: &mut [Option<Signal>; 2]) {
    tokio::select! {
        Some(()) = heard(interrupt) => {}
        Some(()) = heard(terminate) => {}
        else => std::future::pending().await,
    }
}

async fn heard(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    ticks.reset();
    ticks
}

/// What came of the rows so far.
struct Run<'a> {
    progress: &'a mut Progress,
    report: &'a mut Report,
    stop_on_error: bool,
    /// Rows in succession that Mosaic could not serve.
    unserved: usize,
    stopped: Option<Stopped>,
}

impl Run<'_> {
    fn note(&mut self, index: usize, row: &Row, outcome: Outcome) {
        match outcome {
            Outcome::Left => {}
            Outcome::Done { is_new } => {
                self.unserved = 0;
                self.progress.done(index, is_new);
                self.report.done(is_new);
            }
            // Nothing is wrong with the row: it is left for the next run.
            Outcome::Failed(error) if is_about_everything(&error) => self.stop(Stopped::By(error)),
            Outcome::Failed(error) => {
                self.unserved = if error.is_transient() { self.unserved + 1 } else { 0 };
                self.failed(index, row, format!("failed to {}", Chain(&error)));
                if self.unserved >= HOPELESS {
                    self.stop(Stopped::By(error));
                }
            }
            Outcome::Taken => {
                self.unserved = 0;
                self.failed(index, row, TAKEN.to_owned());
            }
        }
    }

    fn failed(&mut self, index: usize, row: &Row, why: String) {
        self.progress.failed(index);
        self.report.failed(row.line, why);
        if self.stop_on_error {
            self.stop(Stopped::ByARow);
        }
    }

    fn stop(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
    }
}

/// Whether every other row would fail as well.
fn is_about_everything(error: &Error) -> bool {
    error.is_about_our_client() || matches!(error, Error::Unexpected { status: 401, .. })
}

/// Calls Mosaic for one row after another; a rate limit is everybody's.
struct Caller<'a> {
    mosaic: &'a Mosaic,
    clock: Clock,
    limited_until: Cell<Option<Timestamp>>,
    stopping: watch::Receiver<bool>,
}

impl Caller<'_> {
    async fn call(&self, user: &NewUser) -> Outcome {
        let (mut tries, mut limits) = (0, 0);
        loop {
            while let Some(left) = self.limited_for() {
                if self.is_stopped_within(left).await {
                    return Outcome::Left;
                }
            }
            match make(self.mosaic, user).await {
                Ok(Made::New) => return Outcome::Done { is_new: true },
                Ok(Made::There) => return Outcome::Done { is_new: false },
                Ok(Made::Taken) => return Outcome::Taken,
                Err(Error::RateLimited { retry_after }) => {
                    let pause = retry_after.unwrap_or_else(|| backoff(limits)).min(LONGEST_LIMIT);
                    limits += 1;
                    let until = self.clock.now().plus(pause);
                    self.limited_until.set(self.limited_until.get().max(Some(until)));
                }
                Err(error) if error.is_transient() && tries < TRIES => {
                    let pause = match error {
                        Error::CircuitOpen { retry_after } => retry_after.max(backoff(tries)),
                        _ => backoff(tries),
                    };
                    if self.is_stopped_within(pause).await {
                        return Outcome::Left;
                    }
                    tries += 1;
                }
                Err(error) => return Outcome::Failed(error),
            }
        }
    }

    /// How long the rate limit still holds; `None` when it does not.
    fn limited_for(&self) -> Option<Duration> {
        let left = self.limited_until.get()?.since(self.clock.now());
        (!left.is_zero()).then_some(left)
    }

    /// Waits, and says whether the import was stopped meanwhile.
    async fn is_stopped_within(&self, pause: Duration) -> bool {
        let mut stopping = self.stopping.clone();
        tokio::time::timeout(pause, stopping.wait_for(|stopping| *stopping)).await.is_ok()
    }
}

/// The pause after `failures` failures before.
fn backoff(failures: u32) -> Duration {
    PAUSE.0.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u128> = [0, 1, 2, 7, 40].map(|failures| backoff(failures).as_millis()).to_vec();
        assert_eq!(pauses, [500, 1000, 2000, 60_000, 60_000]);
    }
}
