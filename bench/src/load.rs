//! Load that wrk and h2load cannot make: at a fixed rate, over WebSockets, and through the whole way in. Each kind gives a
//! `Report`, which is what `load` prints.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hdrhistogram::Histogram;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

mod connection;
pub mod login;
pub mod rate;
pub mod websocket;

/// How long after its time what was begun may still take. What takes longer is counted as an error.
const GRACE: Duration = Duration::from_secs(10);

/// In nanoseconds, what nothing takes longer than.
const LONGEST: u64 = 3_600_000_000_000;

/// A header field that goes with every request.
pub type Field = (HeaderName, HeaderValue);

/// What came of the load, in the words of the harness's samples.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What went well: answers of 2xx, messages that came back, or people who are signed in.
    pub requests: u64,
    /// What did not.
    pub errors: u64,
    /// From the first beginning to the last end.
    pub seconds: f64,
    /// Half of what went well took no longer than this.
    pub p50_us: f64,
    /// All but a hundredth of it.
    pub p99_us: f64,
    /// All but a thousandth of it.
    pub p999_us: f64,
}

/// Why something did not go well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection was not made, or its end was not orderly.
    #[error("failed to speak with the server")]
    Connection(#[from] std::io::Error),
    /// No answer by HTTP.
    #[error("failed to get an answer")]
    Http(#[from] hyper::Error),
    /// An answer, but not the one that the load is about.
    #[error("failed with the answer {0}")]
    Status(StatusCode),
    /// No WebSocket, or not any more.
    #[error("failed to exchange a message")]
    WebSocket(#[from] tokio_tungstenite::tungstenite::Error),
    /// A step of signing in that did not lead to the next one.
    #[error("failed to {0}")]
    Step(&'static str),
}

/// Counts for all tasks of a load.
#[derive(Clone)]
struct Tally(Arc<Mutex<Counts>>);

struct Counts {
    /// Nanoseconds.
    latencies: Histogram<u64>,
    errors: u64,
    began: Instant,
    ended: Instant,
}

impl Tally {
    /// Begins to count, and to measure the time.
    fn begin() -> Self {
        let latencies = Histogram::new_with_max(LONGEST, 3).expect("three digits are allowed, and so is an hour");
        let began = Instant::now();
        Self(Arc::new(Mutex::new(Counts { latencies, errors: 0, began, ended: began })))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("whoever counts does not panic")
    }

    /// Counts what was due at `since` and is over now. The first failure is said, because a number alone helps nobody.
    fn count(&self, since: Instant, outcome: Result<(), Failure>) {
        let mut counts = self.counts();
        counts.ended = Instant::now();
        let latency = u64::try_from(counts.ended.duration_since(since).as_nanos()).unwrap_or(u64::MAX);
        match outcome {
            Ok(()) => counts.latencies.saturating_record(latency),
            Err(failure) => {
                if counts.errors == 0 {
                    eprintln!("error: the first of them: {failure}{}", causes(&failure));
                }
                counts.errors += 1;
            }
        }
    }

    /// Waits for the tasks, for `seconds` and what is allowed beyond that. Ends those that hang, and says how many.
    async fn join(&self, mut tasks: JoinSet<()>, seconds: u32) -> u64 {
        let all = async { while tasks.join_next().await.is_some() {} };
        timeout(Duration::from_secs(seconds.into()) + GRACE, all).await.ok();
        tasks.len() as u64
    }

    /// How much is over, well or not.
    fn counted(&self) -> u64 {
        let counts = self.counts();
        counts.latencies.len() + counts.errors
    }

    /// Counts errors of what nobody waits for any more.
    fn give_up(&self, lost: u64) {
        if lost > 0 {
            let mut counts = self.counts();
            counts.ended = Instant::now();
            counts.errors += lost;
        }
    }

    fn report(&self) -> Report {
        let counts = self.counts();
        // The histogram's steps are a thousandth, so tenths of a microsecond are as fine as it gets.
        let quantile = |quantile| (counts.latencies.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0;
        Report {
            requests: counts.latencies.len(),
            errors: counts.errors,
            seconds: counts.ended.duration_since(counts.began).as_secs_f64(),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
        }
    }
}

/// Adds the fields of a load to those of a request. Of `Host` there is one, which they may replace.
fn add(fields: &[Field], headers: &mut HeaderMap) {
    for (name, value) in fields {
        if name == header::HOST {
            headers.insert(name, value.clone());
        } else {
            headers.append(name, value.clone());
        }
    }
}

/// The chain behind an error, as it continues a line.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}")).collect()
}
