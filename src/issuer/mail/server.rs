//! The address of a mail server, as gateway.toml names it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::Host;

/// A host name or an address, and a port where it is not the usual one: `smtp.example.com:587`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    host: Host,
    /// The port, where the setting names one.
    pub port: Option<u16>,
}

impl Server {
    /// The host as it is looked up and as its certificate must name it.
    pub(super) fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
            Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
        }
    }
}

impl TryFrom<String> for Server {
    type Error = BadServer;

    fn try_from(text: String) -> Result<Self, BadServer> {
        let after_host = text.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match text[after_host..].rfind(':').map(|at| after_host + at) {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text.as_str(), None),
        };
        let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.map(|port| port.parse::<u16>().ok().filter(|number| *number > 0 && is_number(port)));
        let port = port.map(|port| port.ok_or(BadServer)).transpose()?;
        let host = Host::parse(host).map_err(|_| BadServer)?;
        Ok(Self { host, port })
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

/// Not a host, or not with a port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a mail server like \"smtp.example.com:587\"")]
pub struct BadServer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        let check = |text: &str, host: &str, port: Option<u16>, is_loopback: bool| {
            let server = Server::try_from(text.to_owned()).expect(text);
            assert_eq!(
                (server.host().as_str(), server.port, server.is_loopback()),
                (host, port, is_loopback),
                "{text}"
            );
            assert_eq!(server.to_string(), text);
        };
        check("smtp.example.com:587", "smtp.example.com", Some(587), false);
        check("smtp.example.com", "smtp.example.com", None, false);
        check("localhost:25", "localhost", Some(25), true);
        check("mail.localhost", "mail.localhost", None, true);
        check("127.0.0.2:1025", "127.0.0.2", Some(1025), true);
        check("192.0.2.7", "192.0.2.7", None, false);
        check("[::1]:25", "::1", Some(25), true);
        check("[2001:db8::1]", "2001:db8::1", None, false);
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            ":25",
            "smtp.example.com:",
            "smtp.example.com:0",
            "smtp.example.com:+25",
            "a:65536",
            "[::1",
            "smtp://a.example.com",
            "a b",
            "user@smtp.example.com",
            "::1",
        ] {
            assert_eq!(Server::try_from(text.to_owned()), Err(BadServer), "{text:?}");
        }
    }
}
