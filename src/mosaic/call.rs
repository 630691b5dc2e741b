//! One HTTP exchange with Mosaic: limits, second tries, whether it may be made at all, and what is noted of it.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use url::Url;

use super::breaker::{Breaker, Change, Turn};
use super::error::{Error, Refusal};
use super::pause::{self, Pauses};
use crate::clock::{Clock, Timestamp};
use crate::secret::{Secret, random_bytes};
use crate::telemetry::Metrics;

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
    /// The longest pause before the second try of what may be repeated.
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
    /// What can be asked twice without harm.
    Once,
}

/// The way to one part of Mosaic, with everything that belongs to every call. Clones share the circuit.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    clock: Clock,
    metrics: Arc<Metrics>,
    circuit: Arc<Circuit>,
    pauses: Arc<Pauses>,
    /// The longest that a call may take, second try included.
    budget: Duration,
    /// The longest pause before the second try.
    pause: Duration,
}

/// The circuit to one part of Mosaic.
struct Circuit {
    breaker: Breaker,
    metrics: Arc<Metrics>,
}

impl Circuit {
    fn new(metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { breaker: Breaker::default(), metrics: Arc::clone(metrics) })
    }
}

/// A client that was replaced by another one leaves nothing alone any more.
impl Drop for Circuit {
    fn drop(&mut self) {
        if self.breaker.is_open() {
            self.metrics.mosaic_circuit_closed();
        }
    }
}

impl Http {
    pub(super) fn new(client: Client, timeouts: &Timeouts, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            clock,
            circuit: Circuit::new(&metrics),
            metrics,
            pauses: Arc::default(),
            budget: timeouts.total,
            pause: timeouts.pause,
        }
    }

    /// The way to another part: with the same connections and a circuit of its own.
    pub(super) fn to_another_part(&self, budget: Duration) -> Self {
        Self { circuit: Circuit::new(&self.metrics), budget, ..self.clone() }
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

    /// Whether nothing speaks against `call` now.
    pub(super) fn is_promising(&self, call: &'static str) -> bool {
        let now = self.clock.now();
        self.circuit.breaker.is_promising(now) && self.pauses.left(call, now).is_none()
    }

    /// How long Mosaic still wants `call` to wait, if it does.
    pub(super) fn pause_of(&self, call: &'static str) -> Option<Duration> {
        self.pauses.left(call, self.clock.now())
    }

    /// Lets the next call through, though the circuit is open.
    pub(super) fn hasten(&self) {
        self.circuit.breaker.hasten(self.clock.now());
    }

    /// Finds out whether this part is left alone, and no longer has to be. Once a pause is over, `trial` says so in place
    /// of a call.
    ///
    /// # Errors
    /// [`Error::CircuitOpen`] during a pause, and what a trial failed with.
    pub(super) async fn probe(&self, trial: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let turn =
            self.circuit.breaker.admit(self.clock.now()).map_err(|retry_after| Error::CircuitOpen { retry_after })?;
        if !turn.is_trial() {
            return Ok(());
        }
        let outcome = trial.await;
        let now = self.clock.now();
        match &outcome {
            Ok(()) => self.note(turn.succeed_on_probation(now)),
            Err(error) if error.is_outage() => {
                self.note(turn.fail(now, matches!(error, Error::ServerFault { .. })));
            }
            Err(_) => {}
        }
        outcome
    }

    /// Sends what `request` makes and reads the answer up to `limit` bytes.
    pub(super) async fn send(
        &self,
        call: &'static str,
        repeat: Repeat,
        limit: usize,
        request: impl Fn() -> Result<RequestBuilder, Error>,
    ) -> Result<Answer, Error> {
        let begun = self.clock.now();
        let first = self.exchange(call, limit, request()?.timeout(self.budget)).await;
        let is_worth_it = match &first {
            Ok(answer) => answer.status >= 500,
            Err(error) => matches!(error, Error::Unreachable(_)),
        };
        if repeat == Repeat::Never || !is_worth_it {
            return first;
        }
        self.rest().await;
        let left = self.budget.saturating_sub(self.clock.now().since(begun));
        if left.is_zero() {
            return first;
        }
        match self.exchange(call, limit, request()?.timeout(left)).await {
            // The first try opened the circuit, and says why.
            Err(Error::CircuitOpen { .. }) => first,
            second => second,
        }
    }

    /// Waits a random part of the longest pause, so that the calls of many tasks do not come back together.
    async fn rest(&self) {
        let [part] = random_bytes::<1>();
        let pause = self.pause.mul_f64(f64::from(part) / 255.0);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    async fn exchange(&self, call: &'static str, limit: usize, request: RequestBuilder) -> Result<Answer, Error> {
        let started = self.clock.now();
        let turn = match self.admit(call, started) {
            Ok(turn) => turn,
            Err(error) => {
                self.metrics.mosaic_call(call, "held_back", None);
                tracing::debug!(mosaic.call = call, %error, "a call to Mosaic was held back");
                return Err(error);
            }
        };
        let outcome = receive(call, limit, request, &self.clock).await;
        let now = self.clock.now();
        match &outcome {
            Ok(answer) if answer.status == 429 => self.pauses.refused(call, answer.retry_after, now),
            Ok(_) => self.pauses.served(call, now),
            Err(_) => {}
        }
        self.note(if is_outage(&outcome) { turn.fail(now, outcome.is_ok()) } else { turn.succeed() });
        let took = now.since(started);
        self.metrics.mosaic_call(call, name(&outcome), Some(took));
        log(call, &outcome, took);
        outcome
    }

    /// Leave to call, unless Mosaic asked for a pause or is left alone.
    fn admit(&self, call: &'static str, now: Timestamp) -> Result<Turn<'_>, Error> {
        match self.pauses.left(call, now) {
            Some(left) => Err(Error::RateLimited { retry_after: Some(left) }),
            None => self.circuit.breaker.admit(now).map_err(|retry_after| Error::CircuitOpen { retry_after }),
        }
    }

    fn note(&self, change: Change) {
        match change {
            Change::Opened => {
                self.metrics.mosaic_circuit_opened();
                tracing::warn!("Mosaic keeps failing: it is left alone for a while");
            }
            Change::Closed => {
                self.metrics.mosaic_circuit_closed();
                tracing::info!("Mosaic answers again");
            }
            Change::StaysOpen | Change::None => {}
        }
    }
}

async fn receive(call: &'static str, limit: usize, request: RequestBuilder, clock: &Clock) -> Result<Answer, Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.and_then(|asked| pause::retry_after(asked, clock.now()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Error::Unexpected { call, status, message: format!("the answer exceeds {limit} bytes") });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { call, status, retry_after, body: Secret::new(body) })
}

/// Whether the failure lies with Mosaic or the way there.
fn is_outage(outcome: &Result<Answer, Error>) -> bool {
    match outcome {
        Ok(answer) => answer.status >= 500,
        Err(error) => error.is_outage(),
    }
}

/// What came of a call, in the words of the metrics.
const fn name(outcome: &Result<Answer, Error>) -> &'static str {
    match outcome {
        Ok(Answer { status: 200..=299, .. }) => "ok",
        Ok(Answer { status: 429, .. }) => "rate_limited",
        Ok(Answer { status: 400..=499, .. }) => "refused",
        Ok(Answer { status: 500.., .. }) => "server_fault",
        Err(Error::TimedOut) => "timed_out",
        Err(Error::Unreachable(_)) => "unreachable",
        Ok(_) | Err(_) => "unexpected",
    }
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
    retry_after: Option<Duration>,
    body: Secret<Vec<u8>>,
}

impl Answer {
    /// The answer when its status is one of `statuses`.
    pub(super) fn with_status(self, statuses: &[u16]) -> Result<Self, Refusal> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        Err(Refusal::read(self.call, self.status, self.retry_after, self.body.expose()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_few_names() {
        let answer = |status| Ok(Answer { call: "x", status, retry_after: None, body: Secret::new(Vec::new()) });
        let unexpected = Error::Unexpected { call: "x", status: 200, message: String::new() };
        for (outcome, expected, is_down) in [
            (answer(200), "ok", false),
            (answer(204), "ok", false),
            (answer(302), "unexpected", false),
            (answer(404), "refused", false),
            (answer(429), "rate_limited", false),
            (answer(500), "server_fault", true),
            (answer(599), "server_fault", true),
            (Err(Error::TimedOut), "timed_out", true),
            (Err(unexpected), "unexpected", false),
        ] {
            assert_eq!((name(&outcome), is_outage(&outcome)), (expected, is_down), "{outcome:?}");
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
