//! The settings of a `[[route]]` that say what its upstream is.

use std::fmt;
use std::path::PathBuf;

use http::uri::PathAndQuery;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct as _, Serializer};
use serde::{Deserialize, Serialize};

use super::url::UpstreamUrl;
use crate::origin::Authority;
use crate::setting::Span;

/// `route.upstream`: one URL, or a list of URLs and of tables with a URL and a weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Servers(pub Vec<ServerSetting>);

/// As it is written: one alone is no list.
impl Serialize for Servers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [server] => server.serialize(serializer),
            servers => servers.serialize(serializer),
        }
    }
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerSetting {
    /// Where it is.
    pub url: UpstreamUrl,
    /// Its share of the requests, beside the weights of the others.
    pub weight: Weight,
}

/// As it is written: a URL alone where nothing is said of its weight.
impl Serialize for ServerSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.weight == Weight::default() {
            return self.url.serialize(serializer);
        }
        let mut table = serializer.serialize_struct("ServerSetting", 2)?;
        table.serialize_field("url", &self.url)?;
        table.serialize_field("weight", &self.weight)?;
        table.end()
    }
}

/// A share, from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

impl Weight {
    /// The share as a number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u32> for Weight {
    type Error = BadWeight;

    fn try_from(weight: u32) -> Result<Self, BadWeight> {
        if (1..=100).contains(&weight) { Ok(Self(weight)) } else { Err(BadWeight) }
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// Not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a weight from 1 to 100")]
pub struct BadWeight;

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServersVisitor)
    }
}

struct ServersVisitor;

impl<'de> Visitor<'de> for ServersVisitor {
    type Value = Servers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL in quotes or a list of them")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<Servers, E> {
        ServerVisitor.visit_str(url).map(|server| Servers(vec![server]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Servers, A::Error> {
        ServerVisitor.visit_map(map).map(|server| Servers(vec![server]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Servers, A::Error> {
        let mut servers = Vec::new();
        while let Some(server) = list.next_element()? {
            servers.push(server);
        }
        Ok(Servers(servers))
    }
}

impl<'de> Deserialize<'de> for ServerSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServerVisitor)
    }
}

struct ServerVisitor;

impl<'de> Visitor<'de> for ServerVisitor {
    type Value = ServerSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL in quotes or a table like { url = \"http://127.0.0.1:3000\", weight = 2 }")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<ServerSetting, E> {
        let url = UpstreamUrl::try_from(url.to_owned()).map_err(E::custom)?;
        Ok(ServerSetting { url, weight: Weight::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ServerSetting, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: UpstreamUrl,
            #[serde(default)]
            weight: Weight,
        }
        let Table { url, weight } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ServerSetting { url, weight })
    }
}

/// `route.balance`: which of several servers gets a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest open requests for its weight.
    LeastConnections,
}

/// `route.upstream_tls`: how `https://` servers prove who they are, and how the gateway proves it to them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSetting {
    /// The authorities that are trusted in place of those of the system, in PEM.
    pub certificate_authority_file: Option<PathBuf>,
    /// The name that the certificate must be for, and that is asked for; that of the URL where there is none.
    pub server_name: Option<ServerName>,
    /// The gateway's own certificate with those that lead to its authority, in PEM.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub certificate_key_file: Option<PathBuf>,
    /// Whether the certificate is judged at all.
    pub verify: bool,
}

impl Default for TlsSetting {
    fn default() -> Self {
        Self {
            certificate_authority_file: None,
            server_name: None,
            certificate_file: None,
            certificate_key_file: None,
            verify: true,
        }
    }
}

impl TlsSetting {
    /// The files that it names.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [&mut self.certificate_authority_file, &mut self.certificate_file, &mut self.certificate_key_file];
        files.into_iter().flatten()
    }
}

/// A name that a certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

impl ServerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServerName {
    type Error = BadServerName;

    fn try_from(name: String) -> Result<Self, BadServerName> {
        let is_name = rustls::pki_types::ServerName::try_from(name.as_str()).is_ok();
        if is_name { Ok(Self(name)) } else { Err(BadServerName) }
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

/// Not a name that a certificate can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host name like \"app.internal\", or an address")]
pub struct BadServerName;

/// `route.health`: what each server is asked now and then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSetting {
    /// The path that is asked for.
    pub path: HealthPath,
    /// The host that is named; that of the URL where there is none.
    pub host: Option<Authority>,
    /// How often.
    pub interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// So many good answers in a row bring a server back.
    pub healthy_after: u32,
    /// So many bad ones in a row take it out.
    pub unhealthy_after: u32,
    /// The statuses that are good; 200 to 299 where there are none.
    pub status: Vec<u16>,
}

impl Default for HealthSetting {
    fn default() -> Self {
        Self {
            path: HealthPath("/".to_owned()),
            host: None,
            interval: Span::seconds(5),
            timeout: Span::seconds(2),
            healthy_after: 2,
            unhealthy_after: 2,
            status: Vec::new(),
        }
    }
}

/// A path, with a query or without.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HealthPath(String);

impl HealthPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HealthPath {
    type Error = BadHealthPath;

    fn try_from(path: String) -> Result<Self, BadHealthPath> {
        let is_whole = path.starts_with('/') && !path.contains('#') && path.parse::<PathAndQuery>().is_ok();
        if is_whole { Ok(Self(path)) } else { Err(BadHealthPath) }
    }
}

impl From<HealthPath> for String {
    fn from(path: HealthPath) -> Self {
        path.0
    }
}

/// Not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a path like \"/healthz\"")]
pub struct BadHealthPath;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Route {
        upstream: Servers,
    }

    #[test]
    fn one_url_a_list_of_them_and_tables_with_weights_are_servers() {
        let check = |text: &str, expected: &[(&str, u32)]| {
            let route: Route = toml::from_str(&format!("upstream = {text}")).unwrap();
            let found: Vec<_> =
                route.upstream.0.iter().map(|server| (server.url.to_string(), server.weight.get())).collect();
            let expected: Vec<_> = expected.iter().map(|(url, weight)| ((*url).to_owned(), *weight)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("'http://a:1'", &[("http://a:1", 1)]);
        check("{ url = 'http://a:1', weight = 3 }", &[("http://a:1", 3)]);
        check("['http://a:1', { url = 'unix:/b', weight = 100 }]", &[("http://a:1", 1), ("unix:/b", 100)]);
        check("[]", &[]);
    }

    #[test]
    fn what_is_no_server_says_so() {
        let check = |text: &str, expected: &str| {
            let error = toml::from_str::<Route>(&format!("upstream = {text}")).err().unwrap();
            assert!(error.message().contains(expected), "{text}: {}", error.message());
        };
        check("'a:1'", "expected \"demo\" or a URL");
        check("5", "expected a URL in quotes or a list of them");
        check("[5]", "expected a URL in quotes or a table");
        check("[{ url = 'demo', wieght = 2 }]", "unknown field `wieght`");
        check("[{ weight = 2 }]", "missing field `url`");
        check("[{ url = 'demo', weight = 0 }]", "expected a weight from 1 to 100");
        check("[{ url = 'demo', weight = 101 }]", "expected a weight from 1 to 100");
    }
}
