//! Counts what the gateway does, in the text format that Prometheus scrapes.
//!
//! Label values are names from the code, names of routes, or URLs of upstreams from the configuration, never text from a
//! request, so their number is bounded. The hash of the configuration is another one after each reload, and there is one at
//! a time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::Error;

/// The gateway's counters. Counting allocates nothing once a label has been seen.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    forwarded: Forwarded,
    open_requests: IntGauge,
    open_streams: IntGaugeVec,
    streams_ended: IntCounterVec,
    rules_refused: IntCounterVec,
    access_requests: IntCounterVec,
    rules_observed: IntCounterVec,
    sign_ins: IntCounterVec,
    mails: IntCounterVec,
    queued_mails: IntGauge,
    mosaic_calls: IntCounterVec,
    mosaic_durations: HistogramVec,
    mosaic_circuits: IntGauge,
    config: IntGaugeVec,
    reloaded: IntGauge,
    reloaded_at: IntGauge,
    upstreams: IntGaugeVec,
    not_upgraded: IntCounter,
    left_out: IntCounter,
    missing_messages: IntCounterVec,
}

/// Shown from the start, so that the first one of a kind is a step up from zero.
const SIGN_IN_EVENTS: &[&str] = &[
    "asked",
    "sent",
    "code_sent",
    "not_sent",
    "failed",
    "redeemed",
    "refused",
    "number_right",
    "number_wrong",
    "signed_out",
];

/// What stays open.
const STREAM_KINDS: &[&str] = &["websocket", "event_stream", "grpc", "other"];

/// Why a stream is open no more.
const STREAM_ENDS: &[&str] = &["closed", "signed_out", "no_access", "too_old"];

/// What becomes of a mail of the built-in issuer.
const MAIL_OUTCOMES: &[&str] = &["sent", "retried", "refused", "expired"];

/// What becomes of asking for access.
const ACCESS_EVENTS: &[&str] = &["asked", "granted", "refused"];

/// In seconds: from a page of our own to the longest wait for an upstream.
const BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Metrics {
    /// Every counter at zero, in a registry of its own.
    ///
    /// # Errors
    /// When a metric is ill formed or there twice, which would be a mistake of ours.
    pub fn new() -> Result<Self, Error> {
        Self::registered().map_err(Error::Metrics)
    }

    fn registered() -> Result<Self, prometheus::Error> {
        let requests = Opts::new("linkgate_requests_total", "Requests answered, by what was decided and by status.");
        let durations = HistogramOpts::new("linkgate_request_duration_seconds", "From a request to its answer's end.");
        let open_requests = Opts::new("linkgate_open_requests", "Requests that are not answered to their end yet.");
        let open_streams = Opts::new(
            "linkgate_open_streams",
            "WebSockets, event streams, calls of gRPC and other long answers that are open, by kind.",
        );
        let streams_ended =
            Opts::new("linkgate_streams_ended_total", "The same once they are open no more, by kind and why.");
        let rules_refused =
            Opts::new("linkgate_rules_refused_total", "Requests that rules kept out, by route and why.");
        let rules_observed = Opts::new(
            "linkgate_rules_observed_total",
            "Requests that passed and that the rules of their route would have kept out, by route and why.",
        );
        let access_requests = Opts::new(
            "linkgate_access_requests_total",
            "Requests to the owners of routes for access, by what happened.",
        );
        let sign_ins = Opts::new("linkgate_sign_ins_total", "Steps of signing in and out, by what happened.");
        let mails = Opts::new("linkgate_issuer_mails_total", "Attempts to deliver the issuer's mails, by outcome.");
        let queued_mails = Opts::new("linkgate_issuer_mails_queued", "Mails of the issuer that wait in the queue.");
        let mosaic_calls = Opts::new(
            "linkgate_mosaic_calls_total",
            "Tries to call Mosaic or the issuer, by call and by what came of them.",
        );
        let mosaic_durations = HistogramOpts::new(
            "linkgate_mosaic_call_duration_seconds",
            "From a call that was sent to its answer's end.",
        );
        let mosaic_circuits = Opts::new(
            "linkgate_mosaic_circuit_open",
            "How many of API, token endpoint and key set are left alone because they keep failing.",
        );
        let config = Opts::new("linkgate_config_info", "The configuration that is used, by its hash; always 1.");
        let reloaded = Opts::new(
            "linkgate_config_last_reload_successful",
            "Whether the configuration was in order when it was last read.",
        );
        let reloaded_at = Opts::new(
            "linkgate_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read and in order.",
        );
        let upstreams =
            Opts::new("linkgate_upstream_out", "Whether a server of an upstream is left alone because it fails.");
        let not_upgraded = Opts::new(
            "linkgate_upgrades_failed_total",
            "Other versions of the program that could not take over from this one.",
        );
        let left_out = Opts::new(
            "linkgate_access_lines_left_out_total",
            "Lines about requests that were not written, because more came than could be.",
        );
        let missing_messages = Opts::new(
            "linkgate_messages_missing_total",
            "Messages that a page or mail wanted and its language lacks, by language; English took their place.",
        );
        let build = Opts::new("linkgate_build_info", "The program that runs; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(requests, &["verdict", "status_class"])?,
            durations: HistogramVec::new(durations.buckets(BUCKETS.to_vec()), &["verdict"])?,
            forwarded: Forwarded::default(),
            open_requests: IntGauge::with_opts(open_requests)?,
            open_streams: IntGaugeVec::new(open_streams, &["kind"])?,
            streams_ended: IntCounterVec::new(streams_ended, &["kind", "reason"])?,
            rules_refused: IntCounterVec::new(rules_refused, &["route", "reason"])?,
            access_requests: IntCounterVec::new(access_requests, &["event"])?,
            rules_observed: IntCounterVec::new(rules_observed, &["route", "reason"])?,
            sign_ins: IntCounterVec::new(sign_ins, &["event"])?,
            mails: IntCounterVec::new(mails, &["outcome"])?,
            queued_mails: IntGauge::with_opts(queued_mails)?,
            mosaic_calls: IntCounterVec::new(mosaic_calls, &["call", "outcome"])?,
            mosaic_durations: HistogramVec::new(mosaic_durations.buckets(BUCKETS.to_vec()), &["call"])?,
            mosaic_circuits: IntGauge::with_opts(mosaic_circuits)?,
            config: IntGaugeVec::new(config, &["hash"])?,
            reloaded: IntGauge::with_opts(reloaded)?,
            reloaded_at: IntGauge::with_opts(reloaded_at)?,
            upstreams: IntGaugeVec::new(upstreams, &["upstream"])?,
            not_upgraded: IntCounter::with_opts(not_upgraded)?,
            left_out: IntCounter::with_opts(left_out)?,
            missing_messages: IntCounterVec::new(missing_messages, &["language"])?,
        };
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        for event in SIGN_IN_EVENTS {
            metrics.sign_ins.get_metric_with_label_values(&[event])?;
        }
        for event in ACCESS_EVENTS {
            metrics.access_requests.get_metric_with_label_values(&[event])?;
        }
        for outcome in MAIL_OUTCOMES {
            metrics.mails.get_metric_with_label_values(&[outcome])?;
        }
        for kind in STREAM_KINDS {
            metrics.open_streams.get_metric_with_label_values(&[kind])?;
            for reason in STREAM_ENDS {
                metrics.streams_ended.get_metric_with_label_values(&[kind, reason])?;
            }
        }
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.durations.clone()))?;
        registry.register(Box::new(metrics.open_requests.clone()))?;
        registry.register(Box::new(metrics.open_streams.clone()))?;
        registry.register(Box::new(metrics.streams_ended.clone()))?;
        registry.register(Box::new(metrics.rules_refused.clone()))?;
        registry.register(Box::new(metrics.access_requests.clone()))?;
        registry.register(Box::new(metrics.rules_observed.clone()))?;
        registry.register(Box::new(metrics.sign_ins.clone()))?;
        registry.register(Box::new(metrics.mails.clone()))?;
        registry.register(Box::new(metrics.queued_mails.clone()))?;
        registry.register(Box::new(metrics.mosaic_calls.clone()))?;
        registry.register(Box::new(metrics.mosaic_durations.clone()))?;
        registry.register(Box::new(metrics.mosaic_circuits.clone()))?;
        registry.register(Box::new(metrics.config.clone()))?;
        registry.register(Box::new(metrics.reloaded.clone()))?;
        registry.register(Box::new(metrics.reloaded_at.clone()))?;
        registry.register(Box::new(metrics.upstreams.clone()))?;
        registry.register(Box::new(metrics.not_upgraded.clone()))?;
        registry.register(Box::new(metrics.left_out.clone()))?;
        registry.register(Box::new(metrics.missing_messages.clone()))?;
        registry.register(Box::new(build))?;
        Ok(metrics)
    }

    /// A request has come in; it is over when what is given back is dropped, however it ended.
    pub fn begin(&self) -> OpenRequest {
        self.open_requests.inc();
        OpenRequest(self.open_requests.clone())
    }

    /// A stream was opened: a `websocket`, an `event_stream`, a call (`grpc`) or an `other` long answer. It is open until
    /// what is given back is dropped.
    pub fn stream_opened(&self, kind: &'static str) -> OpenStream {
        let open = self.open_streams.with_label_values(&[kind]);
        open.inc();
        OpenStream { open, ended: self.streams_ended.clone(), kind, reason: "closed" }
    }

    /// A request was answered with `status`, `took` after it came in, because `verdict` was decided.
    pub fn answered(&self, verdict: &'static str, status: u16, took: Duration) {
        let class = status_class(status);
        let requests = || self.requests.with_label_values(&[verdict, STATUS_CLASSES[class]]);
        let durations = || self.durations.with_label_values(&[verdict]);
        if verdict == FORWARDED {
            self.forwarded.requests[class].get_or_init(requests).inc();
            self.forwarded.durations.get_or_init(durations).observe(took.as_secs_f64());
        } else {
            requests().inc();
            durations().observe(took.as_secs_f64());
        }
    }

    /// The rules of a route kept a request out: `denied`, `not_named`, `network`, `hours` or `sign_in_too_old`.
    pub fn rules_refused(&self, route: &str, reason: &'static str) {
        self.rules_refused.with_label_values(&[route, reason]).inc();
    }

    /// They would have, had they been enforced.
    pub fn rules_observed(&self, route: &str, reason: &'static str) {
        self.rules_observed.with_label_values(&[route, reason]).inc();
    }

    /// A step of signing in or out: `asked`, `sent`, `code_sent`, `not_sent`, `failed`, `redeemed`, `refused` or `signed_out`.
    pub fn sign_in(&self, event: &'static str) {
        self.sign_ins.with_label_values(&[event]).inc();
    }

    /// A request for access: `asked`, `granted` or `refused`.
    pub fn access_request(&self, event: &'static str) {
        self.access_requests.with_label_values(&[event]).inc();
    }

    /// Shows a language from the start, so that the first message that it lacks is a step up from zero.
    pub fn language(&self, tag: &'static str) {
        self.missing_messages.with_label_values(&[tag]);
    }

    /// A language lacks a message that a page or mail wanted.
    pub fn message_missing(&self, tag: &'static str) {
        self.missing_messages.with_label_values(&[tag]).inc();
    }

    /// A mail of the issuer was `sent`, is to be `retried`, or was given up: `refused` or `expired`.
    pub fn mail(&self, outcome: &'static str) {
        self.mails.with_label_values(&[outcome]).inc();
    }

    /// So many mails wait in the issuer's queue.
    pub fn mails_queued(&self, count: usize) {
        self.queued_mails.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A try to call Mosaic ended: `ok`, `refused`, `rate_limited`, `server_fault`, `timed_out`, `unreachable`,
    /// `unexpected`, or `held_back` for one that was not sent and so `took` nothing.
    pub fn mosaic_call(&self, call: &'static str, outcome: &'static str, took: Option<Duration>) {
        self.mosaic_calls.with_label_values(&[call, outcome]).inc();
        if let Some(took) = took {
            self.mosaic_durations.with_label_values(&[call]).observe(took.as_secs_f64());
        }
    }

    /// A part of Mosaic is left alone from now on because it keeps failing.
    pub fn mosaic_circuit_opened(&self) {
        self.mosaic_circuits.inc();
    }

    /// A part of Mosaic that was left alone is called again.
    pub fn mosaic_circuit_closed(&self) {
        self.mosaic_circuits.dec();
    }

    /// The configuration with this hash was read at `seconds` after 1970, and is used.
    pub fn configured(&self, hash: &str, seconds: i64) {
        self.config.reset();
        self.config.with_label_values(&[hash]).set(1);
        self.reloaded.set(1);
        self.reloaded_at.set(seconds);
    }

    /// A configuration was read and cannot be used; the one before it still is.
    pub fn not_configured(&self) {
        self.reloaded.set(0);
    }

    /// The gauge of a server at `url`. Where several servers have one URL, it says how many of them are out.
    pub fn upstream(&self, url: &str) -> UpstreamGauge {
        UpstreamGauge { gauge: self.upstreams.with_label_values(&[url]), is_out: AtomicBool::new(false) }
    }

    /// Another version of the program was started and could not take over.
    pub fn not_upgraded(&self) {
        self.not_upgraded.inc();
    }

    /// All of it, in the text format 0.0.4.
    pub fn render(&self) -> String {
        self.left_out.inc_by(super::lines::left_out().saturating_sub(self.left_out.get()));
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "failed to write the metrics");
            String::new()
        })
    }
}

/// The verdict about a request that went on to an upstream.
pub const FORWARDED: &str = "forwarded";

/// What is counted of forwarded requests. There are too many of them to look the numbers up by their labels each time.
#[derive(Debug, Default)]
struct Forwarded {
    requests: [OnceLock<IntCounter>; STATUS_CLASSES.len()],
    durations: OnceLock<Histogram>,
}

const STATUS_CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The place of a status among the classes.
fn status_class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100),
        _ => 0,
    }
}

/// One request, while it is open.
#[derive(Debug)]
pub struct OpenRequest(IntGauge);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One stream, while it is open.
#[derive(Debug)]
pub struct OpenStream {
    open: IntGauge,
    ended: IntCounterVec,
    kind: &'static str,
    reason: &'static str,
}

impl OpenStream {
    /// Says why it is ended: `signed_out`, `no_access` or `too_old`. Without a word it was `closed` by one of its ends.
    pub const fn ended(&mut self, reason: &'static str) {
        self.reason = reason;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.open.dec();
        self.ended.with_label_values(&[self.kind, self.reason]).inc();
    }
}

/// Whether one server of an upstream is out.
#[derive(Debug)]
pub struct UpstreamGauge {
    gauge: IntGauge,
    is_out: AtomicBool,
}

impl UpstreamGauge {
    /// Says whether the server is out; gives whether that is news.
    pub fn set(&self, is_out: bool) -> bool {
        let is_news = self.is_out.swap(is_out, Ordering::SeqCst) != is_out;
        if is_news {
            self.gauge.add(if is_out { 1 } else { -1 });
        }
        is_news
    }
}

/// A server that is configured no more is not out.
impl Drop for UpstreamGauge {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics) -> Vec<String> {
        metrics.render().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn a_fresh_program_shows_what_it_is_and_zeros() {
        let metrics = Metrics::new().expect("the metrics are well formed");
        let version = env!("CARGO_PKG_VERSION");
        let expected = [
            "linkgate_access_lines_left_out_total 0".to_owned(),
            "linkgate_access_requests_total{event=\"asked\"} 0".to_owned(),
            "linkgate_access_requests_total{event=\"granted\"} 0".to_owned(),
            "linkgate_access_requests_total{event=\"refused\"} 0".to_owned(),
            format!("linkgate_build_info{{version=\"{version}\"}} 1"),
            "linkgate_config_last_reload_success_timestamp_seconds 0".to_owned(),
            "linkgate_config_last_reload_successful 0".to_owned(),
            "linkgate_issuer_mails_queued 0".to_owned(),
            "linkgate_issuer_mails_total{outcome=\"expired\"} 0".to_owned(),
            "linkgate_issuer_mails_total{outcome=\"refused\"} 0".to_owned(),
            "linkgate_issuer_mails_total{outcome=\"retried\"} 0".to_owned(),
            "linkgate_issuer_mails_total{outcome=\"sent\"} 0".to_owned(),
            "linkgate_mosaic_circuit_open 0".to_owned(),
            "linkgate_open_requests 0".to_owned(),
            "linkgate_sign_ins_total{event=\"asked\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"code_sent\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"failed\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"not_sent\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"number_right\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"number_wrong\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"redeemed\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"refused\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"sent\"} 0".to_owned(),
            "linkgate_sign_ins_total{event=\"signed_out\"} 0".to_owned(),
            "linkgate_upgrades_failed_total 0".to_owned(),
        ];
        let is_of_streams = |line: &String| line.contains("_streams");
        let (streams, others): (Vec<String>, Vec<String>) = lines(&metrics).into_iter().partition(is_of_streams);
        assert_eq!(others, expected);
        assert_eq!(streams.len(), STREAM_KINDS.len() * (1 + STREAM_ENDS.len()), "{streams:#?}");
        assert!(streams.iter().all(|line| line.ends_with(" 0")), "{streams:#?}");
    }

    #[test]
    fn requests_are_counted_and_timed_by_verdict() {
        let metrics = Metrics::new().expect("the metrics are well formed");
        metrics.answered("forwarded", 200, Duration::from_millis(2));
        metrics.answered("forwarded", 204, Duration::from_millis(2));
        metrics.answered("forwarded", 502, Duration::from_secs(60));
        metrics.answered("sign_in", 303, Duration::ZERO);
        let lines = lines(&metrics);
        for expected in [
            "linkgate_requests_total{status_class=\"2xx\",verdict=\"forwarded\"} 2",
            "linkgate_requests_total{status_class=\"5xx\",verdict=\"forwarded\"} 1",
            "linkgate_requests_total{status_class=\"3xx\",verdict=\"sign_in\"} 1",
            "linkgate_request_duration_seconds_bucket{verdict=\"forwarded\",le=\"0.001\"} 0",
            "linkgate_request_duration_seconds_bucket{verdict=\"forwarded\",le=\"0.0025\"} 2",
            "linkgate_request_duration_seconds_bucket{verdict=\"forwarded\",le=\"+Inf\"} 3",
            "linkgate_request_duration_seconds_count{verdict=\"sign_in\"} 1",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:#?}");
        }
    }

    #[test]
    fn open_requests_and_sign_ins_are_counted() {
        let metrics = Metrics::new().expect("the metrics are well formed");
        let _open = metrics.begin();
        drop(metrics.begin());
        metrics.sign_in("asked");
        metrics.sign_in("asked");
        let lines = lines(&metrics);
        for expected in ["linkgate_open_requests 1", "linkgate_sign_ins_total{event=\"asked\"} 2"] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:#?}");
        }
    }

    #[test]
    fn streams_are_counted_while_they_are_open_and_when_they_are_no_more() {
        let metrics = Metrics::new().expect("the metrics are well formed");
        let mut ended = metrics.stream_opened("websocket");
        let _open = metrics.stream_opened("websocket");
        drop(metrics.stream_opened("event_stream"));
        ended.ended("signed_out");
        drop(ended);
        let is_counted = |line: &String| line.contains("_streams") && !line.ends_with(" 0");
        let streams: Vec<String> = lines(&metrics).into_iter().filter(is_counted).collect();
        let expected = [
            "linkgate_open_streams{kind=\"websocket\"} 1",
            "linkgate_streams_ended_total{kind=\"event_stream\",reason=\"closed\"} 1",
            "linkgate_streams_ended_total{kind=\"websocket\",reason=\"signed_out\"} 1",
        ];
        assert_eq!(streams, expected);
    }

    #[test]
    fn one_configuration_is_named_at_a_time() {
        let metrics = Metrics::new().expect("the metrics are well formed");
        let configuration = || lines(&metrics).into_iter().filter(|line| line.contains("_config_")).collect::<Vec<_>>();
        metrics.configured("aa", 5);
        metrics.configured("bb", 7);
        metrics.not_configured();
        let expected = [
            "linkgate_config_info{hash=\"bb\"} 1",
            "linkgate_config_last_reload_success_timestamp_seconds 7",
            "linkgate_config_last_reload_successful 0",
        ];
        assert_eq!(configuration(), expected);
    }

    #[test]
    fn calls_to_mosaic_are_counted_and_those_that_were_sent_are_timed() {
        let metrics = Metrics::new().expect("the metrics are well formed");
        metrics.mosaic_call("token", "ok", Some(Duration::from_millis(20)));
        metrics.mosaic_call("token", "held_back", None);
        metrics.mosaic_circuit_opened();
        metrics.mosaic_circuit_opened();
        metrics.mosaic_circuit_closed();
        let lines = lines(&metrics);
        for expected in [
            "linkgate_mosaic_calls_total{call=\"token\",outcome=\"ok\"} 1",
            "linkgate_mosaic_calls_total{call=\"token\",outcome=\"held_back\"} 1",
            "linkgate_mosaic_call_duration_seconds_count{call=\"token\"} 1",
            "linkgate_mosaic_circuit_open 1",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:#?}");
        }
    }

    #[test]
    fn status_classes_are_a_fixed_set() {
        for (status, expected) in [(101, "1xx"), (299, "2xx"), (303, "3xx"), (499, "4xx"), (503, "5xx"), (0, "other")] {
            assert_eq!(STATUS_CLASSES[status_class(status)], expected, "{status}");
        }
        assert_eq!(STATUS_CLASSES[status_class(u16::MAX)], "other");
    }
}
