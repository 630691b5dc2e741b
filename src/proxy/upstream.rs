//! Where an application is.

use std::net::{IpAddr, SocketAddr};

use url::Url;

/// An application's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Upstream {
    /// Reads `http://host:port` or `https://host:port`.
    ///
    /// # Errors
    /// When it is something else, or more than that.
    pub fn parse(text: &str) -> Result<Self, BadUpstream> {
        let url = Url::parse(text).map_err(|_| BadUpstream::NotAUrl)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(BadUpstream::NotAUrl),
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(BadUpstream::MoreThanAnAddress);
        }
        let host = url.host_str().ok_or(BadUpstream::NotAUrl)?;
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(BadUpstream::NotAUrl)?;
        Ok(Self { tls, host: host.trim_matches(['[', ']']).to_owned(), port })
    }

    /// The addresses behind the name, in the resolver's order, without blocking.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect())
    }
}

/// Why a text cannot be an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpstream {
    /// It is no URL of a kind that is proxied to.
    #[error("expected a URL like \"http://127.0.0.1:3000\", or \"demo\"")]
    NotAUrl,
    /// It has a path, a query or a user name.
    #[error("expected scheme, host and port only: the path of the request is passed on as it is")]
    MoreThanAnAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_scheme_host_and_port() {
        let check = |text: &str, expected: Result<(bool, &str, u16), BadUpstream>| {
            let found = Upstream::parse(text).map(|found| (found.tls, found.host, found.port));
            assert_eq!(found, expected.map(|(tls, host, port)| (tls, host.to_owned(), port)), "{text}");
        };
        check("http://127.0.0.1:3000", Ok((false, "127.0.0.1", 3000)));
        check("http://app", Ok((false, "app", 80)));
        check("https://app/", Ok((true, "app", 443)));
        check("http://[::1]:3000", Ok((false, "::1", 3000)));
        check("app:3000", Err(BadUpstream::NotAUrl));
        check("ftp://app", Err(BadUpstream::NotAUrl));
        check("", Err(BadUpstream::NotAUrl));
        check("http://app/x", Err(BadUpstream::MoreThanAnAddress));
        check("http://user@app", Err(BadUpstream::MoreThanAnAddress));
        check("http://app?x", Err(BadUpstream::MoreThanAnAddress));
    }
}
