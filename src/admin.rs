//! The operator's listener: health and metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[admin]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address of health and metrics, never that of the gateway.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9180)) }
    }
}
