//! The command line: what is asked for, and what is said about it.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 wrong usage or configuration. Standard output carries what a
//! command was asked to print; everything else goes to standard error.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::config::{Config, Problem, Problems, Purpose};
use crate::gateway::{self, Running, RunningIssuer};
use crate::telemetry;

/// Puts magic-link sign-in before a web application.
#[derive(Parser)]
#[command(name = "linkgate", version, about, long_about = None, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration
    #[arg(long, short, global = true, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Run,
    /// Run the built-in issuer alone, for other programs and other machines' gateways
    Issuer,
    /// Check the configuration: every problem at once, with its place
    Check {
        /// Print one JSON object instead of lines
        #[arg(long)]
        json: bool,
        /// Check it for `linkgate issuer`
        #[arg(long)]
        issuer: bool,
    },
    /// Look after the issuer's signing keys
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Ask a running gateway whether it is ready, for container health checks
    Health,
}

#[derive(Subcommand)]
enum Keys {
    /// Make a new key that signs in two minutes, and not only when the present one is old
    Rotate,
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no failure; clap knows which is which.
            error.print().ok();
            return if error.use_stderr() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS };
        }
    };
    let config = &arguments.config;
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run(config, Purpose::Gateway),
        Command::Issuer => run(config, Purpose::IssuerAlone),
        Command::Check { json, issuer } => {
            check(config, if issuer { Purpose::IssuerAlone } else { Purpose::Gateway }, json)
        }
        Command::Keys { command: Keys::Rotate } => rotate_keys(config),
        Command::Health => health(config),
    }
}

fn check(file: &Path, purpose: Purpose, json: bool) -> ExitCode {
    let loaded = Config::load_for(purpose, file);
    let (problems, warnings): (Vec<&Problem>, &[Problem]) = match &loaded {
        Ok(config) => (Vec::new(), config.warnings()),
        Err(problems) => (problems.iter().collect(), &[]),
    };
    if json {
        let shown = |problem: &Problem| {
            json!({
                "line": problem.line, "column": problem.column, "key": problem.key,
                "message": problem.message, "seen": problem.seen, "hint": problem.hint,
            })
        };
        let report = json!({
            "file": file,
            "problems": problems.iter().map(|problem| shown(problem)).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(shown).collect::<Vec<_>>(),
        });
        print(&format!("{report}\n"));
    } else {
        for problem in &problems {
            print(&format!("error: {problem}\n"));
        }
        for warning in warnings {
            print(&format!("warning: {warning}\n"));
        }
        let file = file.display();
        match (problems.len(), warnings.len()) {
            (0, 0) => print(&format!("{file}: fine\n")),
            (0, count) => print(&format!("{file}: fine, with {}\n", counted(count, "warning"))),
            (count, _) => print(&format!("{file}: {}\n", counted(count, "problem"))),
        }
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Loads the configuration, or says everything that is wrong with it.
fn load(file: &Path, purpose: Purpose) -> Result<Config, ExitCode> {
    refuse(Config::load_for(purpose, file))
}

/// The same where it makes no difference whether the file is for a gateway or for the issuer alone.
fn load_any(file: &Path) -> Result<Config, ExitCode> {
    let loaded = Config::load(file);
    refuse(loaded.or_else(|problems| Config::load_for(Purpose::IssuerAlone, file).map_err(|_| problems)))
}

fn refuse(loaded: Result<Config, Problems>) -> Result<Config, ExitCode> {
    let refuse = |problems: Problems| {
        for problem in &problems {
            say(&format!("error: {problem}\n"));
        }
        ExitCode::from(WRONG)
    };
    loaded.map_err(refuse)
}

fn run(file: &Path, purpose: Purpose) -> ExitCode {
    let config = match load(file, purpose) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::init(&config.log) {
        return fail(&error, None, WRONG);
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    gateway::install_crypto();
    in_runtime(&config, serve(&config, purpose))
}

/// Runs `task` to its end.
fn in_runtime(config: &Config, task: impl Future<Output = ExitCode>) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().thread_name("linkgate").build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, None, FAILED),
    };
    let code = runtime.block_on(task);
    // Whatever still blocks a thread is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// What was started, and can be stopped.
enum Started {
    Gateway(Box<Running>),
    Issuer(RunningIssuer),
}

impl Started {
    async fn start(config: &Config, purpose: Purpose) -> Result<Self, gateway::Error> {
        Ok(match purpose {
            Purpose::Gateway => Self::Gateway(Box::new(gateway::start(config, Clock::system()).await?)),
            Purpose::IssuerAlone => Self::Issuer(gateway::start_issuer(config, Clock::system()).await?),
        })
    }

    fn greet(&self, config: &Config) {
        match self {
            Self::Gateway(running) => greet(config, running),
            Self::Issuer(running) => greet_issuer(config, running),
        }
    }

    async fn stop(self) {
        match self {
            Self::Gateway(running) => running.stop().await,
            Self::Issuer(running) => running.stop().await,
        }
    }
}

async fn serve(config: &Config, purpose: Purpose) -> ExitCode {
    // Before anything runs: whoever reads that it does may ask it to stop.
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (mut terminate, mut interrupt) = match (terminate, interrupt) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return fail(&error, None, FAILED),
    };
    let running = match Started::start(config, purpose).await {
        Ok(running) => running,
        Err(error) => return fail(&error, error.hint(), FAILED),
    };
    running.greet(config);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: open requests have {}", config.stop_timeout);
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("stopped at once"),
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
    }
    ExitCode::SUCCESS
}

/// Says where everything is; in development also what to do next.
fn greet(config: &Config, running: &Running) {
    tracing::info!(
        public_url = %config.public_url,
        listen = %running.address,
        admin.listen = %running.admin_address,
        version = env!("CARGO_PKG_VERSION"),
        "linkgate is running"
    );
    if !config.issuer.as_ref().is_some_and(|issuer| issuer.mailbox) {
        return;
    }
    let application = config.public_url.join("/");
    let mailbox = config.public_url.join("/.linkgate/mailbox");
    let health = format!("http://{}/health/ready", running.admin_address);
    if config.log.is_for_programs() {
        tracing::info!(application, mailbox, health, "open the application, and find the link in the mailbox");
        return;
    }
    say(&format!(
        "\n  Application   {application}\n  Mailbox       {mailbox}\n  Health        {health}\n\n  \
         Next: open the application, type any address, and follow the link that lands in the mailbox.\n  \
         Your own application: copy {}, set `upstream = \"http://127.0.0.1:PORT\"`, and run `linkgate --config COPY`.\n\n",
        config.file.display(),
    ));
}

/// The same for the issuer alone.
fn greet_issuer(config: &Config, running: &RunningIssuer) {
    tracing::info!(
        public_url = %config.public_url,
        listen = %running.address,
        admin.listen = %running.admin_address,
        version = env!("CARGO_PKG_VERSION"),
        "the issuer is running"
    );
    if config.log.is_for_programs() {
        return;
    }
    let health = format!("http://{}/health/ready", running.admin_address);
    let token = config.public_url.join("/oidc/token");
    let mailbox = config.issuer.as_ref().filter(|issuer| issuer.mailbox);
    let mailbox =
        mailbox.map_or_else(String::new, |_| format!("  Mailbox   {}\n", config.public_url.join("/.linkgate/mailbox")));
    say(&format!("\n  Tokens    {token}\n{mailbox}  Health    {health}\n\n"));
}

/// Makes a new signing key in the store that the configuration names.
fn rotate_keys(file: &Path) -> ExitCode {
    let config = match load_any(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    gateway::install_crypto();
    in_runtime(&config, async {
        match gateway::rotate_keys(&config, Clock::system()).await {
            Ok(moment) => {
                print(&format!("a new key is shown, and signs from {moment}\n"));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, error.hint(), FAILED),
        }
    })
}

/// Asks the admin listener that the configuration names.
fn health(file: &Path) -> ExitCode {
    let config = match load_any(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match ask(config.admin.listen) {
        Ok(answer) => {
            let ready = answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200");
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            print(&format!("{}\n", body.trim_end()));
            if ready { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(error) => {
            fail(&error, Some(format!("is linkgate running, with `admin.listen` {}?", config.admin.listen)), FAILED)
        }
    }
}

fn ask(admin: SocketAddr) -> io::Result<String> {
    let timeout = Duration::from_secs(3);
    let mut address = admin;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}

fn fail(error: &dyn std::error::Error, hint: Option<String>, code: u8) -> ExitCode {
    let mut text = format!("error: failed to {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    if let Some(hint) = hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    say(&text);
    ExitCode::from(code)
}

/// Prints what was asked for. A reader who has left (`| head`) is no failure.
fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// Says something to the person or the log behind standard error.
fn say(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}
