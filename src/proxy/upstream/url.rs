//! Where a server of an upstream is, as gateway.toml says it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

/// The address of a server: `"http://127.0.0.1:3000"`, `"https://app.internal"`, `"unix:/run/app.sock"`, `"demo"`, or
/// `"front-proxy"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UpstreamUrl {
    /// A name or an address with a port.
    Network {
        /// Whether the connection is TLS.
        tls: bool,
        /// The name, or the address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket of this machine.
    Unix(PathBuf),
    /// The application that is built in.
    Demo,
    /// None: another proxy forwards the requests, and asks about each of them first.
    FrontProxy,
}

impl UpstreamUrl {
    /// Whether the connection is TLS.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Network { tls: true, .. })
    }

    /// Host and port as a `Host` field names them: the scheme's own port is left out, and a socket is `localhost`.
    pub fn authority(&self) -> String {
        let Self::Network { tls, host, port } = self else { return "localhost".to_owned() };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == default_port(*tls) { host } else { format!("{host}:{port}") }
    }
}

const fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl TryFrom<String> for UpstreamUrl {
    type Error = BadUpstreamUrl;

    fn try_from(text: String) -> Result<Self, BadUpstreamUrl> {
        if text == "demo" {
            return Ok(Self::Demo);
        }
        if text == "front-proxy" {
            return Ok(Self::FrontProxy);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let is_usable = Path::new(path).is_absolute() && path.len() <= LONGEST_SOCKET && !path.contains('\0');
            return if is_usable { Ok(Self::Unix(path.into())) } else { Err(BadUpstreamUrl::Socket) };
        }
        let tls = text.starts_with("https://");
        if !tls && !text.starts_with("http://") {
            return Err(BadUpstreamUrl::NotAUrl);
        }
        let url = Url::parse(&text).map_err(|error| match error {
            url::ParseError::InvalidPort => BadUpstreamUrl::Unreachable,
            _ => BadUpstreamUrl::NotAUrl,
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUpstreamUrl::User);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadUpstreamUrl::Query);
        }
        if url.path() != "/" {
            return Err(BadUpstreamUrl::Path);
        }
        let host = url.host_str().ok_or(BadUpstreamUrl::NotAUrl)?.trim_matches(['[', ']']).to_owned();
        let port = url.port().unwrap_or(default_port(tls));
        if port == 0 { Err(BadUpstreamUrl::Unreachable) } else { Ok(Self::Network { tls, host, port }) }
    }
}

/// The system takes no longer path for a socket (`sun_path` of unix(7), with the byte that ends it).
const LONGEST_SOCKET: usize = 107;

impl From<UpstreamUrl> for String {
    fn from(url: UpstreamUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { tls, .. } => write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Demo => f.write_str("demo"),
            Self::FrontProxy => f.write_str("front-proxy"),
        }
    }
}

/// Why a text says nothing about where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpstreamUrl {
    /// It is no URL of a kind that is proxied to.
    #[error("expected \"demo\" or a URL like \"http://127.0.0.1:3000\"")]
    NotAUrl,
    /// It has a user name or a password.
    #[error("has a user name or password, which is not supported")]
    User,
    /// It has a query or a fragment.
    #[error("has a query or fragment, which is not supported")]
    Query,
    /// It has a path.
    #[error("has a path, which is not supported: `add_prefix` puts one before that of the request")]
    Path,
    /// Nobody can be there.
    #[error("is no address that can be connected to: name a host and a port from 1 to 65535")]
    Unreachable,
    /// It is no path of a socket.
    #[error("expected the absolute path of a socket, of at most 107 bytes, like \"unix:/run/app.sock\"")]
    Socket,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_scheme_host_and_port_or_a_socket() {
        let check = |text: &str, expected: Result<&str, BadUpstreamUrl>| {
            let found = UpstreamUrl::try_from(text.to_owned()).map(|url| url.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        };
        check("demo", Ok("demo"));
        check("http://127.0.0.1:3000", Ok("http://127.0.0.1:3000"));
        check("http://app", Ok("http://app"));
        check("http://app:443", Ok("http://app:443"));
        check("https://App/", Ok("https://app"));
        check("http://[::1]:3000", Ok("http://[::1]:3000"));
        check("unix:/run/app.sock", Ok("unix:/run/app.sock"));
        check("app:3000", Err(BadUpstreamUrl::NotAUrl));
        check("ftp://app", Err(BadUpstreamUrl::NotAUrl));
        check("http:app", Err(BadUpstreamUrl::NotAUrl));
        check("", Err(BadUpstreamUrl::NotAUrl));
        check("http://app/x", Err(BadUpstreamUrl::Path));
        check("http://user@app", Err(BadUpstreamUrl::User));
        check("http://app?x", Err(BadUpstreamUrl::Query));
        check("http://app:0", Err(BadUpstreamUrl::Unreachable));
        check("http://app:65536", Err(BadUpstreamUrl::Unreachable));
        check("unix:app.sock", Err(BadUpstreamUrl::Socket));
        check("unix:", Err(BadUpstreamUrl::Socket));
        check(&format!("unix:/{}", "x".repeat(107)), Err(BadUpstreamUrl::Socket));
    }

    #[test]
    fn the_authority_leaves_out_what_goes_without_saying() {
        let check = |text: &str, expected: &str| {
            assert_eq!(UpstreamUrl::try_from(text.to_owned()).unwrap().authority(), expected, "{text}");
        };
        check("http://app:80", "app");
        check("https://app:443", "app");
        check("https://app:80", "app:80");
        check("http://[::1]", "[::1]");
        check("unix:/run/app.sock", "localhost");
    }
}
