//! Whether a server gets requests: what became of those it got, and of the questions it is asked.
//!
//! A server that fails several times in a row is left alone for a pause, after which one request tries it again; the
//! pause grows while that fails. All of it is atomic numbers: no request waits for another to read them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::telemetry::UpstreamGauge;

/// So many failures in a row take a server out.
const FAILURES: u32 = 3;
/// The first pause, which doubles with each failure that ends one.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// While one request tries a server that was out, others leave it alone for so long.
const TRIAL: Duration = Duration::from_secs(5);

/// What is known of a server.
pub(super) struct Health {
    /// Its URL, for the log.
    name: String,
    /// Failures in a row.
    failures: AtomicU32,
    /// Unix milliseconds until which it is left alone; [`IN`] for a server that is in.
    out_until: AtomicI64,
    /// Whether the last questions say that it does not work.
    is_ailing: AtomicBool,
    gauge: UpstreamGauge,
}

/// No pause.
const IN: i64 = i64::MIN;

impl Health {
    /// A server of which nothing bad is known.
    pub(super) fn new(name: String, gauge: UpstreamGauge) -> Self {
        Self {
            name,
            failures: AtomicU32::new(0),
            out_until: AtomicI64::new(IN),
            is_ailing: AtomicBool::new(false),
            gauge,
        }
    }

    /// Whether the server may be given a request now. Where its pause is over, that is said once, to the request that is
    /// to try it.
    pub(super) fn admits(&self, now: Timestamp) -> bool {
        if self.is_ailing.load(Ordering::Relaxed) {
            return false;
        }
        let until = self.out_until.load(Ordering::Relaxed);
        if until == IN {
            return true;
        }
        let next = now.plus(TRIAL).unix_millis();
        now.unix_millis() >= until
            && self.out_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether [`Health::admits`] may say yes.
    pub(super) fn may_admit(&self, now: Timestamp) -> bool {
        let until = self.out_until.load(Ordering::Relaxed);
        !self.is_ailing.load(Ordering::Relaxed) && (until == IN || now.unix_millis() >= until)
    }

    /// A request failed: no connection, or no answer on one.
    pub(super) fn failed(&self, now: Timestamp) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let Some(beyond) = failures.checked_sub(FAILURES) else { return };
        let pause = PAUSE.saturating_mul(1 << beyond.min(8)).min(LONGEST_PAUSE);
        self.out_until.store(now.plus(pause).unix_millis(), Ordering::SeqCst);
        self.note("requests fail");
    }

    /// A request was answered.
    pub(super) fn answered(&self) {
        // Nearly always there is nothing to change, and memory that is only read is shared by all cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.out_until.load(Ordering::Relaxed) != IN {
            self.out_until.store(IN, Ordering::SeqCst);
            self.note("");
        }
    }

    /// So many questions in a row went wrong, the last of them as `why` says, that the server gets nothing more.
    pub(super) fn ails(&self, why: &str) {
        self.is_ailing.store(true, Ordering::SeqCst);
        self.note(why);
    }

    /// So many questions in a row went well that whatever was wrong is forgotten.
    pub(super) fn is_well(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.out_until.store(IN, Ordering::SeqCst);
        self.is_ailing.store(false, Ordering::SeqCst);
        self.note("");
    }

    /// Tells the operator, where the server went or came.
    fn note(&self, why: &str) {
        let is_out = self.is_ailing.load(Ordering::SeqCst) || self.out_until.load(Ordering::SeqCst) != IN;
        match (self.gauge.set(is_out), is_out) {
            (true, true) => tracing::warn!(upstream.url = self.name, why, "a server of an upstream gets no requests"),
            (true, false) => tracing::info!(upstream.url = self.name, "a server of an upstream gets requests again"),
            (false, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    struct Story {
        metrics: Metrics,
        health: Health,
        now: Timestamp,
    }

    impl Story {
        fn new() -> Self {
            let metrics = Metrics::new().unwrap();
            let health = Health::new("http://a".to_owned(), metrics.upstream("http://a"));
            Self { metrics, health, now: Timestamp::from_unix_seconds(1_000) }
        }

        fn fails(&self, times: u32) {
            (0..times).for_each(|_| self.health.failed(self.now));
        }

        fn admits(&self) -> bool {
            self.health.admits(self.now)
        }

        fn waits(&mut self, seconds: u64) {
            self.now = self.now.plus(Duration::from_secs(seconds));
        }

        fn is_out(&self) -> bool {
            self.metrics.render().contains("linkgate_upstream_out{upstream=\"http://a\"} 1")
        }
    }

    #[test]
    fn three_failures_in_a_row_take_a_server_out() {
        let story = Story::new();
        story.fails(2);
        assert!(story.admits());
        story.health.answered();
        story.fails(2);
        assert!(story.admits() && !story.is_out(), "they were not in a row");
        story.fails(1);
        assert!(!story.admits() && story.is_out());
        story.health.answered();
        assert!(story.admits() && !story.is_out());
    }

    #[test]
    fn after_the_pause_one_request_tries_and_the_pause_grows_while_it_fails() {
        let mut story = Story::new();
        story.fails(3);
        for pause in [5, 10, 20, 40, 60, 60] {
            story.waits(pause - 1);
            assert!(!story.admits(), "{pause}");
            story.waits(1);
            assert!(story.admits(), "{pause}");
            assert!(!story.admits(), "one is enough to try, {pause}");
            story.fails(1);
        }
        story.waits(60);
        assert!(story.admits());
        story.waits(5);
        assert!(story.admits(), "whoever tried was never heard of again");
        story.health.answered();
        story.fails(3);
        story.waits(5);
        assert!(story.admits(), "the pause is short again");
    }

    #[test]
    fn questions_decide_beside_requests() {
        let story = Story::new();
        story.health.ails("status 500");
        assert!(!story.admits() && story.is_out());
        story.health.answered();
        assert!(!story.admits(), "an answered request is no answered question");
        story.fails(3);
        story.health.is_well();
        assert!(story.admits() && !story.is_out(), "it is good again at once");
        story.fails(3);
        story.health.ails("status 500");
        story.health.is_well();
        assert!(story.admits() && !story.is_out());
    }
}
