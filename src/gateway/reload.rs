//! Another configuration for a gateway that runs: what can change does so in one step, and what is under way keeps what it
//! began with. A configuration that is not in order changes nothing.

use std::sync::Arc;

use super::{Error, Running, waiting};
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::config::{Change, Config, Problems, difference};
use crate::session::Chain;
use crate::telemetry::{self, Metrics};

/// The target of what the log says about reloads.
pub const RELOADS: &str = module_path!();

/// What a reload made of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// What is different from now on.
    pub applied: Vec<Change>,
    /// What will be different after a restart.
    pub waiting: Vec<Change>,
    /// Where something that is different from now on is as it was until a restart.
    pub as_before: Option<&'static str>,
}

/// Why everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The configuration is not in order.
    #[error("use the configuration")]
    Problems(#[from] Problems),
    /// It looks in order, and a part cannot be made from it.
    #[error("go over to the configuration")]
    Error(#[from] Error),
}

impl Running {
    /// Goes over to a configuration that was read just now; says in the log what is different. Reloads come one after
    /// the other.
    ///
    /// # Errors
    /// Why the gateway goes on as it was, which the log says as well.
    pub async fn reload(&self, read: Result<Config, Problems>) -> Result<Reloaded, NotReloaded> {
        let reloaded = match read {
            Ok(wanted) => self.go_over(&wanted).await.map_err(NotReloaded::from),
            Err(problems) => Err(problems.into()),
        };
        reloaded.inspect_err(|why| why.tell(&self.ground.metrics, &self.ground.readiness))
    }

    async fn go_over(&self, wanted: &Config) -> Result<Reloaded, Error> {
        let ground = &self.ground;
        let mut parts = self.parts.lock().await;
        let config = waiting::held(&parts.config, wanted);
        let reloaded = Reloaded::new(&parts.config, &config, wanted);
        if reloaded.applied.is_empty() {
            parts.config = config;
        } else {
            let next = parts.next(ground, &config, &reloaded.applied)?;
            let site = next.site(ground);
            telemetry::follow(&config.log)?;
            self.site.store(Arc::new(site));
            next.settle_in();
            *parts = next;
        }
        reloaded.tell(wanted, &ground.metrics, &ground.readiness, &ground.clock);
        Ok(reloaded)
    }
}

impl Reloaded {
    /// What a gateway with the configuration `running` would make of `wanted`.
    pub fn expected(running: &Config, wanted: &Config) -> Self {
        Self::new(running, &waiting::held(running, wanted), wanted)
    }

    /// From `running` to `config`, which has of `wanted` what can be had now.
    pub(super) fn new(running: &Config, config: &Config, wanted: &Config) -> Self {
        let applied = difference(running, config);
        // The built-in issuer keeps the pages that it began with.
        let is_on_its_pages = config.issuer.is_some() && applied.iter().any(|change| change.is_of("theme"));
        let as_before = "[theme] waits for a restart in mails, on the page behind a link, and in the mailbox";
        Self { waiting: difference(config, wanted), as_before: is_on_its_pages.then_some(as_before), applied }
    }

    /// Says what is different, and that the configuration is in order.
    pub(super) fn tell(&self, wanted: &Config, metrics: &Metrics, readiness: &Readiness, clock: &Clock) {
        let Self { applied, waiting, as_before } = self;
        let hash = wanted.contents.short_hash();
        metrics.configured(&hash, clock.now().unix_seconds());
        readiness.warn(CONFIGURATION, None);
        for change in applied {
            if change.opens() { tracing::warn!("{change}") } else { tracing::info!("{change}") }
        }
        for change in waiting {
            tracing::warn!("{change}: waits for a restart");
        }
        if let Some(as_before) = as_before {
            tracing::warn!("{as_before}");
        }
        if applied.is_empty() && waiting.is_empty() {
            return tracing::info!(config.hash = hash, "the configuration was read again and is the same");
        }
        for warning in wanted.warnings() {
            tracing::warn!("{warning}");
        }
        let (applied, waiting) = (applied.len(), waiting.len());
        tracing::info!(config.hash = hash, applied, waiting, "the configuration was reloaded");
    }
}

impl NotReloaded {
    /// Says why everything is as it was.
    pub(super) fn tell(&self, metrics: &Metrics, readiness: &Readiness) {
        metrics.not_configured();
        let trouble = "the file cannot be used, and what was read before still is; `linkgate check` shows why";
        readiness.warn(CONFIGURATION, Some(trouble.to_owned()));
        match self {
            Self::Problems(problems) => problems.iter().for_each(|problem| tracing::error!("{problem}")),
            Self::Error(error) => tracing::error!(error = %Chain(error), "failed to reload the configuration"),
        }
        tracing::error!("the configuration was not reloaded: what was read before still is in use");
    }
}

/// What readiness calls it.
const CONFIGURATION: &str = "configuration";
