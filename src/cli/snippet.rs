//! `linkgate snippet`: the configuration of another proxy that forwards requests itself and asks the gateway about them.
//!
//! What is printed are the texts in `snippets/`, filled in with addresses and the names of the identity headers. Hosts are
//! not in them: the gateway refuses those that are not its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::output::{print, refuse};
use super::{FAILED, WRONG, load};
use crate::config::{Config, Purpose};
use crate::identity::headers::{self, Attribute, Preset};

mod fill;

use fill::{Values, fill};

/// What is asked for.
#[derive(Args)]
pub(super) struct Asked {
    /// The proxy that forwards the requests
    front: Front,
    /// Where that proxy finds the gateway [default: `listen` of the configuration, or 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS:PORT")]
    gateway: Option<Address>,
    /// Where it finds the application
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    upstream: Address,
    /// Where visitors find it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: Address,
    /// Print one file of several, by its name
    #[arg(long, value_name = "NAME", conflicts_with = "directory")]
    part: Option<String>,
    /// Write all files into this folder instead of printing the first one
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Proxies that there is a configuration for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Front {
    Nginx,
    Caddy,
    Haproxy,
    Apache,
    Traefik,
    Envoy,
}

impl Front {
    /// Its files by their names, the first one first.
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Nginx => &[("linkgate.conf", include_str!("../../snippets/nginx/linkgate.conf"))],
            Self::Caddy => &[("Caddyfile", include_str!("../../snippets/caddy/Caddyfile"))],
            Self::Haproxy => &[
                ("haproxy.cfg", include_str!("../../snippets/haproxy/haproxy.cfg")),
                ("linkgate.lua", include_str!("../../snippets/haproxy/linkgate.lua")),
            ],
            Self::Apache => &[
                ("linkgate.conf", include_str!("../../snippets/apache/linkgate.conf")),
                ("linkgate.lua", include_str!("../../snippets/apache/linkgate.lua")),
            ],
            Self::Traefik => &[
                ("traefik.yml", include_str!("../../snippets/traefik/traefik.yml")),
                ("linkgate.yml", include_str!("../../snippets/traefik/linkgate.yml")),
            ],
            Self::Envoy => &[("envoy.yaml", include_str!("../../snippets/envoy/envoy.yaml"))],
        }
    }
}

/// Host and port, as a proxy's configuration has them.
#[derive(Clone)]
struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a host and a port, like 127.0.0.1:8080";
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_host = match name {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_plain),
        };
        let port = port.parse().map_err(|_| EXPECTED)?;
        if is_host { Ok(Self { host: host.to_owned(), port }) } else { Err(EXPECTED) }
    }
}

/// Prints or writes what is asked for.
pub(super) fn snippet(file: &Path, asked: &Asked) -> ExitCode {
    let config = if file.exists() { load(file, Purpose::Gateway).map(Some) } else { Ok(None) };
    let config = match config {
        Ok(config) => config,
        Err(code) => return code,
    };
    let values = values(asked, config.as_ref());
    let files = asked.front.files();
    if let Some(directory) = &asked.directory {
        return write(directory, files, &values);
    }
    let wanted = |(name, _): &&(&str, &str)| asked.part.as_ref().is_none_or(|part| part == name);
    match files.iter().find(wanted) {
        Some((_, text)) => {
            print(&fill(text, &values));
            ExitCode::SUCCESS
        }
        None => {
            let names: Vec<String> = files.iter().map(|(name, _)| format!("`{name}`")).collect();
            let hint = format!("there is {}", names.join(" and "));
            refuse("no file of that name belongs to this proxy", Some(&hint), WRONG)
        }
    }
}

fn write(directory: &Path, files: &[(&str, &str)], values: &Values) -> ExitCode {
    for (name, text) in files {
        let path = directory.join(name);
        if let Err(error) = fs::write(&path, fill(text, values)) {
            return refuse(&format!("`{}` cannot be written: {error}", path.display()), None, FAILED);
        }
    }
    ExitCode::SUCCESS
}

fn values(asked: &Asked, config: Option<&Config>) -> Values {
    let default = headers::Config::default();
    let names = config.map_or(&default, |config| &config.identity_headers);
    let configured = config.map(|config| Address {
        host: match config.listen.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        },
        port: config.listen.port(),
    });
    let usual = Address { host: "127.0.0.1".to_owned(), port: 8081 };
    let gateway = asked.gateway.clone().or(configured).unwrap_or(usual);
    let identity = identity(names);
    // mod_lua starts from wherever Apache was started, so it needs a whole path.
    let folder = asked.directory.as_ref().and_then(|directory| fs::canonicalize(directory).ok());
    let directory = folder.map_or_else(|| "/etc/apache2".to_owned(), |folder| folder.display().to_string());
    let mut places = Vec::new();
    for (name, address) in [("gateway", &gateway), ("upstream", &asked.upstream), ("listen", &asked.listen)] {
        places.push((name.to_owned(), format!("{}:{}", address.host, address.port)));
        // Where host and port stand apart, an IPv6 address has no brackets.
        places.push((format!("{name}_host"), address.host.trim_matches(['[', ']']).to_owned()));
        places.push((format!("{name}_port"), address.port.to_string()));
    }
    places.push(("directory".to_owned(), directory));
    Values { places, managed: managed(&identity), identity }
}

/// What the gateway says about a visitor, and what it calls the request.
fn identity(config: &headers::Config) -> Vec<String> {
    let attributes = Attribute::ALL.into_iter().filter_map(|attribute| config.name(attribute));
    let extra = config.extra.keys().map(String::as_str);
    let always = ["X-Linkgate-Assertion", "X-Request-Id"];
    attributes.chain(extra).chain(always).map(str::to_owned).collect()
}

/// The other names that a visitor may not use: those of every set of identity headers, and what proxies say.
fn managed(identity: &[String]) -> Vec<String> {
    const ALWAYS: [&str; 19] = [
        "Forwarded",
        "Proxy",
        "X-Real-Ip",
        "X-Original-Method",
        "X-Original-Uri",
        "X-Original-Url",
        "X-Rewrite-Url",
        "X-Forwarded-Client-Cert",
        "X-Forwarded-Method",
        "X-Forwarded-Path",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Protocol",
        "X-Forwarded-Scheme",
        "X-Forwarded-Server",
        "X-Forwarded-Ssl",
        "X-Forwarded-Uri",
        "X-Forwarded-Proto-Version",
        "X-Linkgate-Cookie",
    ];
    let names = |preset: Preset| Attribute::ALL.into_iter().filter_map(move |attribute| preset.name(attribute));
    let all: BTreeSet<&str> = Preset::ALL.into_iter().flat_map(names).chain(ALWAYS).collect();
    let is_told = |name: &str| identity.iter().any(|told| told.eq_ignore_ascii_case(name));
    all.into_iter().filter(|name| !is_told(name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:80", "app:3000", "[::1]:8080", "app.example.com:443"] {
            let address = Address::from_str(text).unwrap();
            assert_eq!(format!("{}:{}", address.host, address.port), text);
        }
        for text in ["", "app", ":80", "app:", "app:99999", "a b:80", "::1:80", "app;:80", "[x]:80", "http://app:80"] {
            assert!(Address::from_str(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_name_is_either_told_or_taken_out() {
        let config = headers::Config { preset: Preset::RemoteUser, ..headers::Config::default() };
        let identity = identity(&config);
        assert_eq!(
            identity,
            ["Remote-Email", "Remote-Name", "Remote-User", "Remote-Groups", "X-Linkgate-Assertion", "X-Request-Id"]
        );
        let managed = managed(&identity);
        for name in ["X-Forwarded-User", "X-Auth-Request-Email", "X-Forwarded-Uri", "Forwarded", "Proxy"] {
            assert!(managed.iter().any(|found| found == name), "{name}");
        }
        assert!(managed.iter().all(|name| !identity.contains(name)));
    }
}
