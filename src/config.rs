//! gateway.toml as [`Config`]: gathers the sections that the parts own and shows every problem at once.
//!
//! A section's fields, types and defaults live with its owner. `read` finds what is wrong with one value, `check`
//! what is wrong between several.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Spanned;

use crate::identity::{AddressRule, headers};
use crate::origin::Origin;
use crate::portal::sign_in;
use crate::proxy::{self, route};
use crate::setting::{self, Span};
use crate::{admin, assertion, issuer, mosaic, pages, personal_token, session, telemetry};

mod check;
mod content;
mod development;
mod difference;
mod place;
mod problem;
mod read;

pub use content::Contents;
pub use difference::{Change, difference};
pub use problem::{Problem, Problems};

/// A configuration in which every setting and every pair of settings is in order.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Where visitors reach the gateway; every link and redirect is made from it.
    pub public_url: Origin,
    /// The address of the public listener.
    pub listen: SocketAddr,
    /// Peers whose `X-Forwarded-For` is believed, and who may ask about the requests that they forward themselves.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether visitors and proxies that know oauth2-proxy find its paths here.
    pub oauth2_proxy_paths: bool,
    /// Peers that say where a connection is from ahead of it, by the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Threads that serve requests; one for each core where there is none.
    pub threads: Option<usize>,
    /// Addresses of those who may see the debug page.
    pub debug_page: Vec<AddressRule>,
    /// How long open requests may go on when the gateway is asked to stop.
    pub stop_timeout: Span,
    /// How long they may go on when another program has taken over.
    pub upgrade_timeout: Span,
    /// `[tls]`, where the gateway ends TLS itself.
    pub tls: Option<proxy::tls::Config>,
    /// `[admin]`
    pub admin: admin::Config,
    /// `[log]`
    pub log: telemetry::Config,
    /// `[reload]`
    pub reload: Reload,
    /// `[theme]`
    pub theme: pages::Theme,
    /// `[limits]`
    pub limits: proxy::Limits,
    /// `[sign_in]`
    pub sign_in: sign_in::Config,
    /// `[sign_up]`
    pub sign_up: sign_in::SignUp,
    /// `[session]`
    pub session: session::Config,
    /// `[personal_tokens]`
    pub personal_tokens: personal_token::Config,
    /// `[mosaic]`: there exactly when `issuer` is not.
    pub mosaic: Option<mosaic::Config>,
    /// `[issuer]`: there exactly when `mosaic` is not.
    pub issuer: Option<issuer::Config>,
    /// `[identity_headers]`
    pub identity_headers: headers::Config,
    /// `[assertion]`
    pub assertion: assertion::Config,
    /// `[[route]]`, at least one for a gateway.
    pub route: Vec<route::Config>,
    /// The directory of the file, absolute: relative paths in the file start here.
    #[serde(skip)]
    pub directory: PathBuf,
    /// The file, as it was named to the program.
    #[serde(skip)]
    pub file: PathBuf,
    /// What the file and those that it names held when it was read.
    #[serde(skip)]
    pub contents: Contents,
    #[serde(skip)]
    lines: place::Lines,
    #[serde(skip)]
    warnings: Vec<Problem>,
}

/// `[reload]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Whether a change of the file, or of one that it names, is applied without being asked.
    pub watch: bool,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: true }
    }
}

/// The file as serde reads it. What must be there is an `Option` all the same, so that its absence is one problem
/// among the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    public_url: Option<Origin>,
    listen: SocketAddr,
    trusted_proxies: Vec<IpNet>,
    oauth2_proxy_paths: bool,
    proxy_protocol: Vec<IpNet>,
    threads: Option<usize>,
    debug_page: Vec<AddressRule>,
    stop_timeout: Span,
    upgrade_timeout: Span,
    tls: Option<Table<proxy::tls::Config>>,
    admin: Table<admin::Config>,
    log: Table<telemetry::Config>,
    reload: Table<Reload>,
    theme: Table<pages::Theme>,
    limits: Table<proxy::Limits>,
    sign_in: Table<sign_in::Config>,
    sign_up: Table<sign_in::SignUp>,
    session: Table<session::Config>,
    personal_tokens: Table<personal_token::Config>,
    mosaic: Option<Table<mosaic::Config>>,
    issuer: Option<Table<issuer::Config>>,
    identity_headers: Table<headers::Config>,
    assertion: Table<assertion::Config>,
    route: Vec<Spanned<Table<route::Config>>>,
}

#[derive(Default, Deserialize)]
#[serde(transparent, bound(deserialize = "T: DeserializeOwned"))]
struct Table<T>(#[serde(deserialize_with = "setting::table")] T);

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted_proxies: Vec::new(),
            oauth2_proxy_paths: false,
            proxy_protocol: Vec::new(),
            threads: None,
            debug_page: Vec::new(),
            stop_timeout: Span::seconds(10),
            upgrade_timeout: Span::hours(1),
            tls: None,
            admin: Table::default(),
            log: Table::default(),
            reload: Table::default(),
            theme: Table::default(),
            limits: Table::default(),
            sign_in: Table::default(),
            sign_up: Table::default(),
            session: Table::default(),
            personal_tokens: Table::default(),
            mosaic: None,
            issuer: None,
            identity_headers: Table::default(),
            assertion: Table::default(),
            route: Vec::new(),
        }
    }
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A gateway, with the built-in issuer or without.
    Gateway,
    /// The built-in issuer alone.
    IssuerAlone,
    /// A gateway that somebody tries out: its mail is shown where only this machine can see that.
    Development,
}

impl Config {
    /// Reads and checks the file at `path` for a gateway.
    ///
    /// # Errors
    /// With everything that is wrong, or why the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Self::load_for(Purpose::Gateway, path)
    }

    /// Reads and checks the file at `path` for `purpose`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for(purpose: Purpose, path: &Path) -> Result<Self, Problems> {
        let refuse = |problem| Problems::new(vec![problem]);
        let bytes = std::fs::read(path).map_err(|error| refuse(unreadable(path, &error)))?;
        let text = str::from_utf8(&bytes).map_err(|error| refuse(not_utf_8(path, &bytes[..error.valid_up_to()])))?;
        Self::parse_for(purpose, text, path)
    }

    /// Reads and checks `text`, which is the content of `path`, for a gateway.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Problems> {
        Self::parse_for(Purpose::Gateway, text, path)
    }

    /// Reads and checks `text`, which is the content of `path`, for `purpose`.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn parse_for(purpose: Purpose, text: &str, path: &Path) -> Result<Self, Problems> {
        if text.trim().is_empty() {
            let hint = "the gateway.toml that comes with linkgate runs as it stands";
            return Err(Problems::new(vec![Problem::of_file(path.to_owned(), "is empty".to_owned(), Some(hint))]));
        }
        let (table, mut problems) = read::parse(text, path);
        let Some(table) = table else { return Err(Problems::new(problems)) };
        let places = place::Places::new(path, text, table.get_ref());
        let directory = directory_of(path);
        if directory.to_str().is_none() {
            let message = "is in a folder whose name is not UTF-8".to_owned();
            problems.push(Problem::of_file(path.to_owned(), message, Some("move it into another folder")));
        }
        let Some(mut settings) = read::settings(table, &places, &mut problems) else {
            return Err(Problems::new(problems));
        };
        if purpose == Purpose::Development {
            settings.develop();
        }
        let mut findings = check::check(&settings, purpose, &places, &directory, &problems);
        problems.extend(findings.problems);
        problem::in_order(&mut findings.warnings);
        match settings.public_url.clone() {
            Some(public_url) if problems.is_empty() => {
                let mut config = settings.into_config(public_url, directory, path.to_owned(), findings.warnings);
                config.contents = Contents::of(&config, text);
                config.lines = places.of_routes();
                Ok(config)
            }
            _ => Err(Problems::new(problems)),
        }
    }

    /// The line on which a part of a route begins, by its dotted name: `route[1].allow[0]`.
    pub fn line(&self, key: &str) -> Option<usize> {
        self.lines.find(key)
    }

    /// What a setting says, as it could stand in the file.
    pub fn said(&self, key: &str) -> Option<String> {
        let pointer = format!("/{}", key.replace(['.', '['], "/").replace(']', ""));
        self.values().pointer(&pointer).map(difference::shown)
    }

    /// The same as values, by section.
    fn values(&self) -> Value {
        serde_json::to_value(self).expect("`parse_for` refuses a folder whose name is not text, and all else is text")
    }

    /// What is allowed and yet probably not meant, in the order of the file.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl Settings {
    fn into_config(self, public_url: Origin, directory: PathBuf, file: PathBuf, warnings: Vec<Problem>) -> Config {
        let mut config = Config {
            public_url,
            listen: self.listen,
            trusted_proxies: self.trusted_proxies,
            oauth2_proxy_paths: self.oauth2_proxy_paths,
            proxy_protocol: self.proxy_protocol,
            threads: self.threads,
            debug_page: self.debug_page,
            stop_timeout: self.stop_timeout,
            upgrade_timeout: self.upgrade_timeout,
            tls: self.tls.map(|tls| tls.0),
            admin: self.admin.0,
            log: self.log.0,
            reload: self.reload.0,
            theme: self.theme.0,
            limits: self.limits.0,
            sign_in: self.sign_in.0,
            sign_up: self.sign_up.0,
            session: self.session.0,
            personal_tokens: self.personal_tokens.0,
            mosaic: self.mosaic.map(|mosaic| mosaic.0),
            issuer: self.issuer.map(|issuer| issuer.0),
            identity_headers: self.identity_headers.0,
            assertion: self.assertion.0,
            route: self.route.into_iter().map(|route| route.into_inner().0).collect(),
            directory,
            file,
            contents: Contents::default(),
            lines: place::Lines::default(),
            warnings,
        };
        // The parts know nothing of where the file is.
        let of_issuer = config.issuer.iter_mut().flat_map(issuer::Config::paths);
        let of_tls = config.tls.iter_mut().flat_map(proxy::tls::Config::paths);
        let of_routes = config.route.iter_mut().flat_map(route::Config::paths);
        let of_theme = config.theme.logo.iter_mut().chain(config.theme.templates.as_mut());
        for path in of_theme.chain(of_issuer).chain(of_tls).chain(of_routes) {
            *path = config.directory.join(&*path);
        }
        if let Some(mosaic) = &mut config.mosaic {
            mosaic.resolve(&config.directory);
        }
        config
    }
}

fn directory_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().unwrap_or(&path).to_owned()
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound => ("there is no such file".to_owned(), Some("name another one with `--config FILE`")),
        io::ErrorKind::IsADirectory => {
            ("is a directory, not a file".to_owned(), Some("name the file in it with `--config FILE`"))
        }
        io::ErrorKind::PermissionDenied => (
            "cannot be read: permission denied".to_owned(),
            Some("give the user that runs linkgate the right to read it"),
        ),
        _ => (format!("cannot be read: {error}"), None),
    };
    Problem::of_file(path.to_owned(), message, hint)
}

fn not_utf_8(path: &Path, valid: &[u8]) -> Problem {
    let valid = String::from_utf8_lossy(valid);
    let (line, column) = place::line_and_column(&valid, valid.len());
    let mut problem = Problem::of_file(path.to_owned(), "is not UTF-8 text".to_owned(), None);
    (problem.line, problem.column) = (Some(line), Some(column));
    problem.hint("save the file as UTF-8")
}
