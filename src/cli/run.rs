//! `linkgate run` and `linkgate issuer`: the gateway, or the issuer alone, until it is told to stop.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::output::{fail, say};
use super::{FAILED, WRONG, load};
use crate::clock::Clock;
use crate::config::{Config, Problems, Purpose};
use crate::gateway::{self, Running, RunningIssuer};
use crate::setting::Span;
use crate::telemetry;

mod reloading;
mod supervisor;

use reloading::Reloading;

/// Runs what the file is for until it is told to stop.
pub(super) fn run(file: &Path, purpose: Purpose) -> ExitCode {
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
pub(super) fn in_runtime(config: &Config, task: impl Future<Output = ExitCode>) -> ExitCode {
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
    Issuer(Box<RunningIssuer>),
}

impl Started {
    async fn start(config: &Config, purpose: Purpose) -> Result<Self, gateway::Error> {
        Ok(match purpose {
            Purpose::Gateway => Self::Gateway(Box::new(gateway::start(config, Clock::system()).await?)),
            Purpose::IssuerAlone => Self::Issuer(Box::new(gateway::start_issuer(config, Clock::system()).await?)),
        })
    }

    fn greet(&self, config: &Config) {
        match self {
            Self::Gateway(running) => greet(config, running),
            Self::Issuer(running) => greet_issuer(config, running),
        }
    }

    /// Says itself what came of it.
    async fn reload(&mut self, read: Result<Config, Problems>) {
        match self {
            Self::Gateway(running) => drop(running.reload(read).await),
            Self::Issuer(running) => drop(running.reload(read)),
        }
    }

    /// How long open requests may go on.
    async fn stop_timeout(&self) -> Span {
        match self {
            Self::Gateway(running) => running.stop_timeout().await,
            Self::Issuer(running) => running.stop_timeout(),
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
    let mut reloading = match Reloading::new(config, purpose) {
        Ok(reloading) => reloading,
        Err(error) => return fail(&error, None, FAILED),
    };
    let mut running = match Started::start(config, purpose).await {
        Ok(running) => running,
        Err(error) => return fail(&error, error.hint().as_deref(), FAILED),
    };
    running.greet(config);
    supervisor::ready();
    loop {
        let read = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            read = reloading.next() => read,
        };
        supervisor::reloading();
        running.reload(read).await;
        supervisor::ready();
    }
    supervisor::stopping();
    tracing::info!("stopping: open requests have {}", running.stop_timeout().await);
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
