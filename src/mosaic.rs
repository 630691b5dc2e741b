//! The client of Mosaic's API.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

/// `[mosaic]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The region of the tenant; it decides host, issuer and key set.
    pub region: Option<Region>,
    /// The API under another host: a tenant's own domain, or another program that speaks this API.
    pub base_url: Option<Url>,
    /// The `iss` of the tokens, where it is not the region's.
    pub issuer: Option<String>,
    /// Where the keys of the tokens are, where it is not `/cis/oidc/jwks` of the API.
    pub key_set_url: Option<Url>,
    /// Where client access tokens are had, where it is not `/oidc/token` of the API.
    pub token_url: Option<Url>,
    /// The client of the tenant's application.
    pub client_id: Option<String>,
    /// The file that holds the client's secret.
    pub client_secret_file: Option<PathBuf>,
    /// The environment variable that holds the client's secret.
    pub client_secret_env: Option<String>,
}

/// Where a Mosaic tenant lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Mosaic's own")]
pub enum Region {
    Us,
    Eu,
    Ca,
    Au,
    Jp,
    Sandbox,
}
