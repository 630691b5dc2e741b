//! One HTTP exchange with Mosaic: limits, a line in the log, and whether Mosaic can be reached.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, redirect};
use serde::de::DeserializeOwned;
use url::Url;

use super::error::{Error, Refusal};
use crate::clock::{Clock, Timestamp};
use crate::secret::{Secret, random_bytes};

/// Bytes of an answer that are read at most; a key set has its own limit.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until a call is answered in full.
    pub total: Duration,
    /// Until a key set is there, second try included.
    pub key_set: Duration,
    /// The longest pause before the second try of a read.
    pub pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            total: Duration::from_secs(10),
            key_set: Duration::from_secs(5),
            pause: Duration::from_millis(250),
        }
    }
}

/// Whether a failed exchange may be tried a second time at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// What changes something is sent once, so that one click never sends two mails.
    Never,
    /// A read.
    Once,
}

/// The HTTP client with everything that belongs to every call.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    clock: Clock,
    health: Arc<Health>,
    pub(super) timeouts: Timeouts,
}

impl Http {
    /// A client that goes straight to `urls`, follows no redirect and, where all of them are HTTPS, speaks nothing else.
    pub(super) fn new(urls: &[&Url], timeouts: Timeouts, clock: Clock) -> Result<Self, Error> {
        let client = Client::builder()
            .user_agent(concat!("linkgate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .https_only(urls.iter().all(|url| url.scheme() == "https"))
            .build()
            .map_err(|error| Error::Setup(Arc::new(error)))?;
        Ok(Self { client, clock, health: Arc::new(Health::default()), timeouts })
    }

    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    pub(super) fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    pub(super) fn delete(&self, url: &Url) -> RequestBuilder {
        self.client.delete(url.clone())
    }

    /// Whether the latest exchange reached a working Mosaic, or a failed one is long enough ago to try again.
    pub(super) fn is_reachable(&self) -> bool {
        self.health.is_good(self.clock.now())
    }

    /// Sends what `request` makes and reads the answer up to `limit` bytes.
    pub(super) async fn send(
        &self,
        call: &'static str,
        repeat: Repeat,
        limit: usize,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let first = self.exchange(call, limit, request()).await;
        let is_worth_it = match &first {
            Ok(answer) => answer.status >= 500,
            Err(error) => matches!(error, Error::Unreachable(_)),
        };
        if repeat == Repeat::Never || !is_worth_it {
            return first;
        }
        self.pause().await;
        self.exchange(call, limit, request()).await
    }

    /// Waits a random part of the longest pause, so that the calls of many tasks do not come back together.
    async fn pause(&self) {
        let [part] = random_bytes::<1>();
        let pause = self.timeouts.pause.mul_f64(f64::from(part) / 255.0);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    async fn exchange(&self, call: &'static str, limit: usize, request: RequestBuilder) -> Result<Answer, Error> {
        let started = self.clock.now();
        let outcome = receive(call, limit, request).await;
        let now = self.clock.now();
        self.health.note(&outcome, now);
        log(call, &outcome, now.since(started));
        outcome
    }
}

async fn receive(call: &'static str, limit: usize, request: RequestBuilder) -> Result<Answer, Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Error::Unexpected { call, status, message: format!("the answer exceeds {limit} bytes") });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { call, status, retry_after, body: Secret::new(body) })
}

/// Says what was called and how it went: no address, no token, no code, no URL.
fn log(call: &str, outcome: &Result<Answer, Error>, duration: Duration) {
    let duration_ms = duration.as_millis();
    match outcome {
        Ok(Answer { status: status @ (429 | 500..), .. }) => {
            tracing::warn!(mosaic.call = call, mosaic.status = status, duration_ms, "Mosaic could not serve a call");
        }
        Ok(Answer { status, .. }) => {
            tracing::debug!(mosaic.call = call, mosaic.status = status, duration_ms, "called Mosaic");
        }
        Err(error) => {
            let cause = std::iter::successors(error.source(), |&cause| cause.source()).last().map(ToString::to_string);
            tracing::warn!(mosaic.call = call, duration_ms, %error, cause, "a call to Mosaic failed");
        }
    }
}

/// What Mosaic answered.
#[derive(Debug)]
pub(super) struct Answer {
    call: &'static str,
    pub(super) status: u16,
    retry_after: Option<String>,
    body: Secret<Vec<u8>>,
}

impl Answer {
    /// The answer when its status is one of `statuses`.
    pub(super) fn with_status(self, statuses: &[u16]) -> Result<Self, Refusal> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        Err(Refusal::read(self.call, self.status, self.retry_after.as_deref(), self.body.expose()))
    }

    /// The body as what the call is known to answer with.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // serde's own message quotes the body, which may hold tokens.
        serde_json::from_slice(self.body.expose()).map_err(|_| self.unexpected("not what this call answers with"))
    }

    pub(super) fn body(&self) -> &[u8] {
        self.body.expose()
    }

    pub(super) fn unexpected(&self, message: &str) -> Error {
        Error::Unexpected { call: self.call, status: self.status, message: message.to_owned() }
    }
}

/// Remembers when Mosaic was last found out of reach.
#[derive(Debug)]
struct Health(AtomicI64);

/// For how long a failure keeps others from trying.
const HOLD_BACK: Duration = Duration::from_secs(5);
const GOOD: i64 = i64::MIN;

impl Default for Health {
    fn default() -> Self {
        Self(AtomicI64::new(GOOD))
    }
}

impl Health {
    fn note(&self, outcome: &Result<Answer, Error>, now: Timestamp) {
        let is_down = match outcome {
            Ok(answer) => answer.status >= 500,
            Err(error) => matches!(error, Error::Unreachable(_) | Error::TimedOut),
        };
        self.0.store(if is_down { now.unix_millis() } else { GOOD }, Ordering::Relaxed);
    }

    fn is_good(&self, now: Timestamp) -> bool {
        let failed_at = Timestamp::from_unix_millis(self.0.load(Ordering::Relaxed));
        // A clock that was set back must not prolong the wait.
        now < failed_at || now.since(failed_at) >= HOLD_BACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Result<Answer, Error> {
        Ok(Answer { call: "x", status, retry_after: None, body: Secret::new(Vec::new()) })
    }

    #[test]
    fn a_failure_holds_back_for_five_seconds_or_until_a_success() {
        let at = Timestamp::from_unix_seconds;
        let health = Health::default();
        assert!(health.is_good(at(100)));
        for failure in [answer(500), answer(503), Err(Error::TimedOut)] {
            health.note(&failure, at(100));
            assert!(!health.is_good(at(100)));
            assert!(!health.is_good(at(104)));
            assert!(health.is_good(at(105)));
            assert!(health.is_good(at(99)), "the clock was set back");
            health.note(&answer(404), at(101));
            assert!(health.is_good(at(101)));
        }
    }

    #[test]
    fn an_answer_hides_its_body_and_its_errors_do_not_quote_it() {
        let body = br#"{"access_token":["secret-token"]}"#;
        let answer = Answer { call: "x", status: 200, retry_after: None, body: Secret::new(body.to_vec()) };
        let error = answer.json::<std::collections::HashMap<String, String>>().unwrap_err();
        assert!(!format!("{error:?} {error} {answer:?}").contains("secret-token"));
    }
}
