//! `linkgate run`, `linkgate dev` and `linkgate issuer`: the gateway, or the issuer alone, until it is told to stop.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::{fail, say};
use super::{FAILED, WRONG, load};
use crate::clock::Clock;
use crate::config::{Config, Problems, Purpose};
use crate::gateway::{self, NotReloaded, Reloaded, Running, RunningIssuer, Sockets};
use crate::session::Chain;
use crate::setting::Span;
use crate::{round, telemetry};

mod developer;
mod reloading;
mod supervisor;
mod upgrade;

use developer::Developer;
use reloading::{Next, Reloading};
use upgrade::{Program, Successor};

/// Runs what the file is for until it is told to stop.
pub(super) fn run(file: &Path, purpose: Purpose) -> ExitCode {
    run_loaded(purpose, || load(file, purpose))
}

/// Runs the file for who develops. Where there is none, and none was named, the demo application runs.
pub(super) fn develop(file: &Path, is_named: bool) -> ExitCode {
    let purpose = Purpose::Development;
    run_loaded(purpose, || if is_named || file.exists() { load(file, purpose) } else { developer::without_file(file) })
}

fn run_loaded(purpose: Purpose, load: impl FnOnce() -> Result<Config, ExitCode>) -> ExitCode {
    let (sockets, predecessor) = Sockets::inherited();
    let mut config = match load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if Developer::of(&config, purpose).is_some() {
        Developer::quiet(&mut config);
    }
    let _flush = match telemetry::init(&config.log) {
        Ok(flush) => flush,
        Err(error) => return fail(&error, None, WRONG),
    };
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    // Where it is not raised there are fewer connections at once, which `linkgate doctor` warns of.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "failed to raise the number of files that may be open");
    }
    gateway::install_crypto();
    in_runtime(&config, serve(&config, purpose, sockets, predecessor))
}

/// Runs `task` to its end.
pub(super) fn in_runtime(config: &Config, task: impl Future<Output = ExitCode>) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads);
    }
    round::watch(&mut runtime);
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
    async fn start(config: &Config, purpose: Purpose, sockets: Sockets) -> Result<Self, gateway::Error> {
        let clock = Clock::system();
        Ok(match purpose {
            Purpose::Gateway | Purpose::Development => {
                Self::Gateway(Box::new(gateway::start(config, clock, sockets).await?))
            }
            Purpose::IssuerAlone => Self::Issuer(Box::new(gateway::start_issuer(config, clock, sockets).await?)),
        })
    }

    fn greet(&self, config: &Config, developer: Option<&Developer>) {
        match self {
            Self::Gateway(running) => greet(config, running, developer),
            Self::Issuer(running) => greet_issuer(config, running),
        }
    }

    /// The log says what came of it, and so does this to who develops.
    async fn reload(&mut self, mut read: Result<Config, Problems>, developer: Option<&Developer>) {
        let Some(developer) = developer else { return drop(self.try_reload(read).await) };
        if let Ok(config) = &mut read {
            Developer::quiet(config);
        }
        let warnings = read.as_ref().map(|config| config.warnings().to_vec()).unwrap_or_default();
        developer.tell(&self.try_reload(read).await, &warnings);
    }

    async fn try_reload(&mut self, read: Result<Config, Problems>) -> Result<Reloaded, NotReloaded> {
        match self {
            Self::Gateway(running) => running.reload(read).await,
            Self::Issuer(running) => running.reload(read),
        }
    }

    /// How long open requests may go on.
    async fn stop_timeout(&self) -> Span {
        match self {
            Self::Gateway(running) => running.stop_timeout().await,
            Self::Issuer(running) => running.stop_timeout(),
        }
    }

    /// Has a predecessor leave once this program can do its work.
    fn take_over_from(&self, predecessor: UnixStream) {
        match self {
            Self::Gateway(running) => drop(tokio::spawn(upgrade::take_over(predecessor, running.ready()))),
            Self::Issuer(running) => drop(tokio::spawn(upgrade::take_over(predecessor, running.ready()))),
        }
    }

    /// Starts the program that is in the place of this one, and returns once it can do the work.
    async fn hand_over(&self, program: &Program) -> Result<Successor, upgrade::Error> {
        let listeners = match self {
            Self::Gateway(running) => running.share().await?,
            Self::Issuer(running) => running.share()?,
        };
        program.start_successor(listeners).await
    }

    fn not_upgraded(&self) {
        match self {
            Self::Gateway(running) => running.not_upgraded(),
            Self::Issuer(running) => running.not_upgraded(),
        }
    }

    /// How long open requests may go on when there is a successor.
    async fn upgrade_timeout(&self) -> Span {
        match self {
            Self::Gateway(running) => running.upgrade_timeout().await,
            Self::Issuer(running) => running.upgrade_timeout(),
        }
    }

    fn leave(&self) {
        match self {
            Self::Gateway(running) => running.leave(),
            Self::Issuer(running) => running.leave(),
        }
    }

    async fn left(&mut self) {
        match self {
            Self::Gateway(running) => running.left().await,
            Self::Issuer(running) => running.left().await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Gateway(running) => running.stop().await,
            Self::Issuer(running) => running.stop().await,
        }
    }
}

/// The signals that ask the program to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Listens for them from now on.
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(config: &Config, purpose: Purpose, sockets: Sockets, predecessor: Option<UnixStream>) -> ExitCode {
    // Before anything runs: whoever reads that it does may ask it to stop.
    let (mut stop, mut reloading) = match (Stop::new(), Reloading::new(config, purpose)) {
        (Ok(stop), Ok(reloading)) => (stop, reloading),
        (Err(error), _) | (_, Err(error)) => return fail(&error, None, FAILED),
    };
    let mut running = match Started::start(config, purpose, sockets).await {
        Ok(running) => running,
        Err(error) => return fail(&error, error.hint().as_deref(), FAILED),
    };
    let developer = Developer::of(config, purpose);
    let developer = developer.as_ref();
    running.greet(config, developer);
    supervisor::ready();
    if let Some(predecessor) = predecessor {
        running.take_over_from(predecessor);
    }
    match work(&mut running, &mut stop, &mut reloading, developer).await {
        End::Stop => supervisor::stopping(),
        End::Upgrade(successor) => drain(&mut running, successor, &mut stop, &mut reloading, developer).await,
    }
    tracing::info!("stopping: open requests have {}", running.stop_timeout().await);
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        () = stop.asked() => tracing::warn!("stopped at once"),
    }
    ExitCode::SUCCESS
}

/// Why the program takes no more work.
enum End {
    Stop,
    Upgrade(Successor),
}

/// Serves, and goes over to other configurations, until told to stop or until there is a successor.
async fn work(running: &mut Started, stop: &mut Stop, reloading: &mut Reloading, developer: Option<&Developer>) -> End {
    loop {
        let next = tokio::select! {
            () = stop.asked() => return End::Stop,
            next = reloading.next() => next,
        };
        supervisor::reloading();
        match next {
            Next::Configuration(read) => running.reload(*read, developer).await,
            Next::Program => {
                tracing::info!("upgrading: another program is started");
                let handed_over = tokio::select! {
                    () = stop.asked() => return End::Stop,
                    handed_over = running.hand_over(reloading.program()) => handed_over,
                };
                match handed_over {
                    Ok(successor) => {
                        supervisor::handed_over(successor.process);
                        tracing::info!(process.id = successor.process, "another program has taken over");
                        return End::Upgrade(successor);
                    }
                    Err(error) => {
                        running.not_upgraded();
                        tracing::error!(error = %Chain(&error), "failed to upgrade: this program goes on");
                    }
                }
            }
        }
        supervisor::ready();
    }
}

/// Finishes what is open while a successor takes what is new. Rules that change still hold for it. When the successor
/// ends this program does too, because systemd cannot see that as long as it is the child of another process.
async fn drain(
    running: &mut Started,
    mut successor: Successor,
    stop: &mut Stop,
    reloading: &mut Reloading,
    developer: Option<&Developer>,
) {
    let timeout = running.upgrade_timeout().await;
    running.leave();
    tracing::info!("open requests have {timeout} to end");
    let over = tokio::time::sleep(timeout.0);
    tokio::pin!(over);
    loop {
        let next = tokio::select! {
            () = running.left() => return,
            () = &mut over => return,
            () = stop.asked() => return,
            () = successor.ended() => {
                tracing::warn!(process.id = successor.process, "the program that took over has ended");
                return;
            }
            next = reloading.next() => next,
        };
        if let Next::Configuration(read) = next {
            running.reload(*read, developer).await;
        }
    }
}

/// Says where everything is; in development also what to do next.
fn greet(config: &Config, running: &Running, developer: Option<&Developer>) {
    tracing::info!(
        public_url = %config.public_url,
        listen = %running.address,
        admin.listen = %running.admin_address,
        version = env!("CARGO_PKG_VERSION"),
        process.id = std::process::id(),
        "linkgate is running"
    );
    if let Some(developer) = developer {
        return developer.greet(config, running);
    }
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
        process.id = std::process::id(),
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
