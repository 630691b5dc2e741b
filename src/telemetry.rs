//! Logs and metrics: one line per event on stderr, and counters whose labels come from fixed sets.
//!
//! pingora writes through the `log` crate, which nothing collects here: its messages quote raw requests, with cookies
//! and callback codes in them. What matters of them is logged by the proxy, under our rules.

use std::io::IsTerminal;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

mod lines;
mod metrics;

use lines::Lines;
pub use metrics::{FORWARDED, Metrics, OpenRequest, OpenStream, UpstreamGauge};

/// The target of access lines, one per request; a filter can name it.
pub const ACCESS: &str = "linkgate::access";

/// `[log]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug`, or a filter like `info,linkgate::mosaic=debug`.
    pub level: String,
    /// Lines for people or for programs.
    pub format: Format,
    /// A target whose events somebody else tells of, so that the log does not.
    #[serde(skip)]
    pub told_elsewhere: Option<&'static str>,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto, told_elsewhere: None }
    }
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Whether the lines on stderr are JSON.
    pub fn is_for_programs(&self) -> bool {
        self.format.is_json(std::io::stderr().is_terminal())
    }

    /// Whether the level is one.
    ///
    /// # Errors
    /// When it is neither a level nor a filter.
    pub fn check(&self) -> Result<(), Error> {
        filter(&self.level).map(drop)
    }

    fn filter(&self) -> Result<EnvFilter, Error> {
        match self.told_elsewhere {
            Some(target) => filter(&format!("{},{target}=off", self.level)),
            None => filter(&self.level),
        }
    }
}

impl Format {
    const fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Human => false,
            Self::Json => true,
        }
    }
}

/// Packages that tell more than an operator wants to know; each also covers the names that begin with it.
const NOISY: &[&str] = &["pingora", "hyper", "h2", "rustls", "reqwest", "moka"];

/// Writes the lines that wait when it is dropped.
#[must_use = "lines that wait are written when it is dropped"]
pub struct Flush {
    _guard: WorkerGuard,
}

/// Sends the events of this process to stderr from now on. Once per process.
///
/// # Errors
/// When the level is no filter, or events already go somewhere.
pub fn init(config: &Config) -> Result<Flush, Error> {
    let terminal = std::io::stderr().is_terminal();
    let (lines, guard) = Lines::new();
    let (subscriber, level) = subscriber(config, terminal, lines)?;
    subscriber.try_init().map_err(Error::Init)?;
    LEVEL.get_or_init(|| level);
    Ok(Flush { _guard: guard })
}

/// Goes over to the level of `config`, if this process logs at all; its format stays.
///
/// # Errors
/// When the level is no filter.
pub fn follow(config: &Config) -> Result<(), Error> {
    let filter = config.filter()?;
    LEVEL.get().map_or(Ok(()), |level| level(filter)).map_err(Error::Reload)
}

/// Replaces the filter of what is logged.
type Level = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

static LEVEL: OnceLock<Level> = OnceLock::new();

type Logging = (Box<dyn Subscriber + Send + Sync>, Level);

fn subscriber<W>(config: &Config, terminal: bool, writer: W) -> Result<Logging, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A stderr that is gone must not end the process, which a report about it on stderr would.
    let builder = tracing_subscriber::fmt().with_writer(writer).log_internal_errors(false);
    let filter = config.filter()?;
    if config.format.is_json(terminal) {
        let builder = builder.json().flatten_event(true).with_span_list(false);
        let builder = builder.with_env_filter(filter).with_filter_reloading();
        let handle = builder.reload_handle();
        return Ok((Box::new(builder.finish()), Box::new(move |filter| handle.reload(filter))));
    }
    // https://no-color.org
    let colors = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = builder.with_ansi(colors).with_env_filter(filter).with_filter_reloading();
    let handle = builder.reload_handle();
    Ok((Box::new(builder.finish()), Box::new(move |filter| handle.reload(filter))))
}

fn filter(level: &str) -> Result<EnvFilter, Error> {
    let parts = || level.split(',').map(str::trim);
    let general = |part: &str| part.parse::<LevelFilter>().ok().filter(|_| !part.is_empty());
    // To the filter's own syntax `inof` is the name of a module, and everything else would be silent.
    if let Some(part) = parts().find(|part| !part.contains(['=', '[', ']', '{', '}']) && general(part).is_none()) {
        return Err(Error::Level { part: part.to_owned() });
    }
    let quiet = parts().filter_map(general).next_back().is_some_and(|general| general > LevelFilter::WARN);
    // The last one of several for one name counts, so what the operator names is as the operator says.
    let quieted = NOISY.iter().filter(|_| quiet).map(|package| format!("{package}=warn,"));
    let directives: String = quieted.chain(parts().map(|part| format!("{part},"))).collect();
    EnvFilter::try_new(directives).map_err(Error::Filter)
}

/// Why there are no logs or no metrics.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A word that is neither a level nor a filter.
    #[error(
        "use `log.level`: `{part}` is not a level; expected error, warn, info, debug, trace or off, \
         or a filter like \"info,linkgate::mosaic=debug\""
    )]
    Level {
        /// The word.
        part: String,
    },
    /// A filter that cannot be read.
    #[error("use `log.level`: expected a filter like \"info,linkgate::mosaic=debug\"")]
    Filter(#[source] ParseError),
    /// Events already go somewhere.
    #[error("start logging")]
    Init(#[source] TryInitError),
    /// The level cannot be changed any more.
    #[error("change `log.level`")]
    Reload(#[source] reload::Error),
    /// A metric that cannot be made.
    #[error("make the metrics")]
    Metrics(#[source] prometheus::Error),
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of `events`.
    fn written(level: &str, format: Format, terminal: bool, events: fn()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = Config { level: level.to_owned(), format, ..Config::default() };
        let logging = subscriber(&config, terminal, move || writer.clone());
        let (subscriber, _) = logging.expect("the filter is well formed");
        tracing::subscriber::with_default(subscriber, events);
        let lines = lines.0.lock().expect("no writer panicked").clone();
        String::from_utf8(lines).expect("lines are text")
    }

    #[test]
    fn programs_get_json_and_people_get_text() {
        let event = || tracing::info!(target: ACCESS, status = 200, path = "/a\n\"b\"", "answered");
        let is_json = |format, terminal| written("info", format, terminal, event).starts_with('{');
        assert!(is_json(Format::Auto, false));
        assert!(!is_json(Format::Auto, true));
        assert!(is_json(Format::Json, true));
        assert!(!is_json(Format::Human, false));
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let event = || tracing::warn!(target: ACCESS, status = 200, path = "/a\n{\"b\"}\u{1b}[2J", "answered");
        let json = written("info", Format::Json, false, event);
        assert_eq!(json.lines().count(), 1, "{json}");
        let mut line: serde_json::Value = serde_json::from_str(&json).expect("the line is JSON");
        let moment = line.as_object_mut().and_then(|line| line.remove("timestamp"));
        assert!(moment.is_some_and(|moment| moment.is_string()));
        let expected = serde_json::json!({
            "level": "WARN", "target": "linkgate::access", "message": "answered", "status": 200,
            "path": "/a\n{\"b\"}\u{1b}[2J",
        });
        assert_eq!(line, expected);
        let text = written("info", Format::Human, false, event);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_level_decides_what_is_written() {
        let events = || {
            tracing::debug!(target: "linkgate::proxy", "own-debug");
            tracing::info!(target: "linkgate::proxy", "own-info");
            tracing::info!(target: "pingora_core::server", "noisy-info");
            tracing::warn!(target: "pingora_core::server", "noisy-warn");
            tracing::info!(target: "hyper::proto", "other-info");
        };
        let check = |level: &str, expected: &[&str]| {
            let text = written(level, Format::Json, false, events);
            let all = ["own-debug", "own-info", "noisy-info", "noisy-warn", "other-info"];
            let seen: Vec<_> = all.into_iter().filter(|message| text.contains(message)).collect();
            assert_eq!(seen, expected, "{level}");
        };
        check("info", &["own-info", "noisy-warn"]);
        check("DEBUG", &["own-debug", "own-info", "noisy-warn"]);
        check("error", &[]);
        check("off", &[]);
        check("info,pingora=info", &["own-info", "noisy-info", "noisy-warn"]);
        check("info, pingora_core=off", &["own-info"]);
        check("error,linkgate=debug", &["own-debug", "own-info"]);
        check("hyper=info", &["other-info"]);
    }

    #[test]
    fn the_level_can_be_changed_while_lines_are_written() {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = Config { format: Format::Json, ..Config::default() };
        let logging = subscriber(&config, false, move || writer.clone());
        let (subscriber, level) = logging.expect("the filter is well formed");
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            level(filter("debug").expect("the filter is well formed")).expect("the subscriber is there");
            tracing::debug!("after");
        });
        let text = String::from_utf8(lines.0.lock().expect("no writer panicked").clone()).expect("lines are text");
        assert!(!text.contains("before") && text.contains("after"), "{text}");
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        for level in ["", "inof", "info,", "info,linkgate", "verbose"] {
            let error = filter(level).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains("`log.level`")), "{level}: {error:?}");
        }
        for level in ["linkgate=loud", "info,linkgate=debug=info", "linkgate[{=info"] {
            assert!(matches!(filter(level), Err(Error::Filter(_))), "{level}");
        }
    }
}
