//! A part of the site: what belongs to it, who may pass, and how requests are passed on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::{Access, Mode, Policy, PublicRule, Rule};
use super::cors::{self, Cors};
use super::upstream::setting::{Balance, HealthSetting, Servers, TlsSetting};
use super::upstream::tls::{BadTls, Tls};
use super::upstream::url::UpstreamUrl;
use super::upstream::{Definition, Upstream, Upstreams};
use crate::identity::EmailAddress;
use crate::origin::Origin;
use crate::setting::{self, Span};

mod host;
mod method;
mod rewrite;
mod table;

pub use host::HostPattern;
pub use method::RouteMethod;
pub use rewrite::{FieldChanges, FieldName, HostHeader, PathRewrite};
pub use table::{Found, Table};

/// `[[route]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The host it serves, or with `*.` before it every name below it; the host of `public_url` where there is none.
    #[serde(default)]
    pub host: Option<String>,
    /// The path it serves, with everything below it.
    #[serde(default)]
    pub path: Option<String>,
    /// The methods it serves; all of them where there are none.
    #[serde(default)]
    pub methods: Option<Vec<RouteMethod>>,
    /// The application: a URL, several of them, or `"demo"` for the one built in.
    #[serde(default)]
    pub upstream: Option<Servers>,
    /// Which of several servers gets a request.
    #[serde(default)]
    pub balance: Balance,
    /// How `https://` servers are judged, and what the gateway shows them.
    #[serde(default, deserialize_with = "setting::optional_table")]
    pub upstream_tls: Option<TlsSetting>,
    /// Whether the application is spoken to in HTTP/2.
    #[serde(default)]
    pub http2: bool,
    /// What each server is asked now and then.
    #[serde(default, deserialize_with = "setting::optional_table")]
    pub health: Option<HealthSetting>,
    /// How often a request that may be repeated is sent again when its connection ends before there is an answer.
    #[serde(default = "retries")]
    pub retries: u32,
    /// Whether `path` is taken off what the application gets.
    #[serde(default)]
    pub strip_prefix: bool,
    /// What is put before the path that the application gets.
    #[serde(default)]
    pub add_prefix: Option<String>,
    /// The `Host` that the application gets.
    #[serde(default)]
    pub host_header: HostHeader,
    /// What is changed about the header fields that the application gets.
    #[serde(default, deserialize_with = "setting::optional_table")]
    pub request_headers: Option<FieldChanges>,
    /// What is changed about the header fields of its answers.
    #[serde(default, deserialize_with = "setting::optional_table")]
    pub response_headers: Option<FieldChanges>,
    /// Whether the application gets a signed assertion of who the visitor is.
    #[serde(default)]
    pub assertion: bool,
    /// Who may pass.
    #[serde(default)]
    pub access: Access,
    /// Says that a public route without a path, or with `/`, is meant: nothing on the host then needs a sign-in.
    #[serde(default)]
    pub whole_site: bool,
    /// Whether programs may show a token in place of a cookie.
    #[serde(default)]
    pub bearer: bool,
    /// Which pages of other sites may read its answers; without it the application says that.
    #[serde(default, deserialize_with = "setting::optional_table")]
    pub cors: Option<cors::Config>,
    /// Which of the signed-in visitors may pass: whom any of the rules fits; every one of them where there are none.
    #[serde(default, deserialize_with = "setting::optional_tables")]
    pub allow: Option<Vec<Rule>>,
    /// Who may not pass, whatever `allow` says: whom any of the rules fits.
    #[serde(default, deserialize_with = "setting::tables")]
    pub deny: Vec<Rule>,
    /// Whom visitors who may not pass can ask for a grant.
    #[serde(default)]
    pub owners: Vec<EmailAddress>,
    /// What comes of it when the rules object to a visitor.
    #[serde(default)]
    pub mode: Mode,
    /// Whether visitors who may not pass are told why.
    #[serde(default)]
    pub show_reason: bool,
    /// What the operator says to them.
    #[serde(default)]
    pub no_access_text: Option<String>,
    /// Parts of the route that need no sign-in.
    #[serde(default, deserialize_with = "setting::tables")]
    pub public: Vec<PublicRule>,
    /// Whether manifest, icons and the like, which browsers fetch without credentials, need no sign-in.
    #[serde(default)]
    pub public_browser_files: bool,
    /// The time for the connection to the application to be made.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// The time for the application to begin, or to go on with, its answer.
    #[serde(default = "response_timeout")]
    pub response_timeout: Span,
    /// How long a WebSocket, an event stream, a call or another answer may go on; without a limit where there is none.
    #[serde(default)]
    pub max_stream_age: Option<Span>,
    /// Bytes of a request body, in place of what `[limits]` says.
    #[serde(default)]
    pub body_bytes: Option<u64>,
}

/// Host and path. The upstream's assertions name it as their audience.
fn name(host: &str, path: &str) -> String {
    format!("{host}{}", if path.is_empty() { "/" } else { path })
}

impl Config {
    /// The name of the route, where visitors reach the gateway at `public_host`.
    pub fn name(&self, public_host: &str) -> String {
        name(
            self.host.as_deref().unwrap_or(public_host),
            self.path.as_deref().unwrap_or_default().trim_end_matches('/'),
        )
    }

    /// Where it is opened, where visitors reach the gateway at `public_url`; nowhere in particular with a host for many.
    pub fn link(&self, public_url: &Origin) -> Option<String> {
        let host = self.host.as_deref().unwrap_or(&public_url.host);
        let origin = Origin { host: host.to_owned(), ..public_url.clone() };
        (!host.starts_with('*')).then(|| origin.join(self.path.as_deref().unwrap_or("/")))
    }

    /// The files that it names.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.upstream_tls.iter_mut().flat_map(TlsSetting::paths)
    }
}

const fn retries() -> u32 {
    2
}

const fn connect_timeout() -> Span {
    Span::seconds(5)
}

const fn response_timeout() -> Span {
    Span::seconds(60)
}

impl Config {
    /// Every rule that looks at visitors.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.allow.iter().flatten().chain(&self.deny)
    }
}

/// A part of the site, with the application that serves it.
#[derive(Debug)]
pub struct Route {
    /// Its place among the routes of gateway.toml.
    pub number: usize,
    /// Host and path, for logs: `app.example.com/admin`.
    pub name: String,
    /// The path it serves, without a slash at its end; empty for all of the host.
    pub path: String,
    /// The methods it serves; all of them where there is no list.
    pub methods: Option<Vec<RouteMethod>>,
    /// Where requests go.
    pub upstream: Arc<Upstream>,
    /// Who may pass.
    pub policy: Policy,
    /// The time for the connection to the upstream to be made.
    pub connect_timeout: Duration,
    /// The time for the upstream to begin, or to go on with, its answer.
    pub response_timeout: Duration,
    /// How often a request may be sent again.
    pub retries: u32,
    /// How long an answer may go on, where that has a limit.
    pub max_stream_age: Option<Duration>,
    /// Bytes of a request body, where it has a limit of its own.
    pub body_bytes: Option<u64>,
    /// Whether the upstream gets a signed assertion of who the visitor is.
    pub assertion: bool,
    /// What becomes of the path.
    pub rewrite: PathRewrite,
    /// The `Host` that the upstream gets.
    pub host_header: HostHeader,
    /// Whether it has owners, whom visitors can ask for a grant.
    pub has_owners: bool,
    /// Whether programs may show a token in place of a cookie.
    pub bearer: bool,
    /// What is said to pages of other sites, where the gateway says it.
    pub cors: Option<Cors>,
    /// Whether another proxy forwards its requests.
    pub is_forwarded_elsewhere: bool,
    /// What is changed about the fields that the upstream gets.
    pub request_headers: FieldChanges,
    /// What is changed about the fields of its answers.
    pub response_headers: FieldChanges,
}

impl Route {
    fn new(number: usize, config: &Config, host: &HostPattern, upstreams: &Upstreams) -> Result<Self, BadTls> {
        let path = config.path.as_deref().unwrap_or("/").trim_end_matches('/').to_owned();
        let definition = Definition {
            servers: config.upstream.clone().unwrap_or(Servers(Vec::new())),
            balance: config.balance,
            http2: config.http2,
            health: config.health.clone(),
        };
        // The paths are absolute: `config` has seen to that.
        let tls = config.upstream_tls.as_ref().map(|tls| Tls::read(tls, Path::new(""))).transpose()?;
        let is_forwarded_elsewhere = definition.servers.0.iter().any(|server| server.url == UpstreamUrl::FrontProxy);
        Ok(Self {
            number,
            is_forwarded_elsewhere,
            has_owners: !config.owners.is_empty(),
            bearer: config.bearer,
            cors: config.cors.as_ref().map(Cors::new),
            name: name(&host.to_string(), &path),
            policy: Policy::new(config, &path),
            upstream: upstreams.find(definition, tls.unwrap_or_default()),
            methods: config.methods.clone(),
            connect_timeout: config.connect_timeout.0,
            response_timeout: config.response_timeout.0,
            retries: config.retries,
            max_stream_age: config.max_stream_age.map(|most| most.0),
            body_bytes: config.body_bytes,
            assertion: config.assertion,
            rewrite: PathRewrite::new(config.strip_prefix, &path, config.add_prefix.as_deref().unwrap_or_default()),
            host_header: config.host_header.clone(),
            request_headers: config.request_headers.clone().unwrap_or_default(),
            response_headers: config.response_headers.clone().unwrap_or_default(),
            path,
        })
    }

    /// Its name as a setting: `route[1]`.
    pub fn key(&self) -> String {
        format!("route[{}]", self.number)
    }

    /// Whether the route is for requests of this method.
    pub fn serves(&self, method: &http::Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.iter().any(|served| served.0 == *method))
    }
}

#[cfg(test)]
mod tests;
