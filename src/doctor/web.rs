//! One connection, and at most one request on it, with the cause of each failure told apart. Certificates are judged by
//! what this machine trusts, exactly as for the gateway's upstreams.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pingora::tls::load_platform_certs_incl_env_into_store;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connection may take to be made, and how long an answer to come.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const LIMIT: usize = 64 * 1024;

/// Why there is no answer, as the end of a sentence about the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The name leads nowhere.
    Name(String),
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    TimedOut,
    /// The certificate is not good.
    Certificate(String),
    /// There is no TLS, or none that fits.
    Tls(String),
    /// What answers is no HTTP server.
    NotHttp,
    /// Anything else that the system says.
    System(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(cause) => write!(f, "the name cannot be resolved ({cause})"),
            Self::Refused => f.write_str("the connection is refused: nothing listens there"),
            Self::TimedOut => f.write_str("there is no answer in time"),
            Self::Certificate(cause) => write!(f, "the TLS certificate {cause}"),
            Self::Tls(cause) => write!(f, "there is no TLS connection ({cause})"),
            Self::NotHttp => f.write_str("what answers does not speak HTTP"),
            Self::System(cause) => write!(f, "the connection fails ({cause})"),
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    body: String,
}

impl Answer {
    /// The body as JSON, null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut words = head.lines().next()?.split(' ');
        let status = words.next().filter(|version| version.starts_with("HTTP/1.")).and(words.next())?.parse().ok()?;
        let head = head.to_ascii_lowercase();
        let is_chunked = head.lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
        Some(Self { status, body: if is_chunked { joined(body) } else { body.to_owned() } })
    }
}

/// A chunked body (RFC 9112 section 7.1) in one piece, as far as it can be read.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or_default();
        let (Some(chunk), true) = (rest.get(..size), size > 0) else { break };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// Connects to a name or an address.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let host = host.trim_matches(['[', ']']);
    let found = tokio::time::timeout(CONNECT, tokio::net::lookup_host((host, port))).await;
    let addresses = found.map_err(|_| Failure::Name("no name server answers in time".to_owned()))?;
    let addresses = addresses.map_err(|error| Failure::Name(error.to_string()))?;
    let mut failure = Failure::Name("it has no address".to_owned());
    for address in addresses {
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Connects to an address on which something of this machine listens.
pub(super) async fn connect_to(mut address: SocketAddr) -> Result<TcpStream, Failure> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// Asks for TLS on a connection to `host`.
pub(super) async fn handshake(stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, Failure> {
    let mut roots = RootCertStore::empty();
    load_platform_certs_incl_env_into_store(&mut roots).map_err(|error| Failure::Tls(error.to_string()))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|error| Failure::Tls(error.to_string()))?;
    match tokio::time::timeout(ANSWER, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(connected) => connected.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::Tls("nobody answers to it in time".to_owned())),
    }
}

/// Sends one `GET` and reads the answer.
pub(super) async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    path: &str,
) -> Result<Answer, Failure> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: application/json\r\nUser-Agent: linkgate-doctor\r\n\
         Connection: close\r\n\r\n"
    );
    let mut bytes = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        // Not every server closes behind its answer.
        while !is_whole(&bytes) && bytes.len() < LIMIT && stream.read_buf(&mut bytes).await? > 0 {}
        Ok(())
    };
    let exchanged = tokio::time::timeout(ANSWER, exchange).await;
    // Many end a TLS connection without a word, or never; what came before counts.
    match (exchanged, Answer::read(&bytes)) {
        (_, Some(answer)) => Ok(answer),
        (Ok(Ok(())), None) => Err(Failure::NotHttp),
        (Ok(Err(error)), None) => Err(failure(&error)),
        (Err(_), None) => Err(Failure::TimedOut),
    }
}

/// Whether an answer that says how long it is has come in full.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() - end - 4 >= length)
}

fn failure(error: &io::Error) -> Failure {
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        return match error {
            rustls::Error::InvalidCertificate(error) => Failure::Certificate(wrong_certificate(error)),
            error => Failure::Tls(error.to_string()),
        };
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::System(error.to_string()),
    }
}

fn wrong_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => "is signed by nobody that this machine trusts".to_owned(),
        error => format!("is refused: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_both_framings() {
        let read = |text: &str| Answer::read(text.as_bytes()).map(|answer| (answer.status, answer.body));
        assert_eq!(read("HTTP/1.1 401 Unauthorized\r\nA: b\r\n\r\n{}"), Some((401, "{}".to_owned())));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n4;x=y\r\na\":1\r\n1\r\n}\r\n0\r\n\r\n";
        assert_eq!(read(chunked), Some((200, "{\"a\":1}".to_owned())));
        for wrong in ["", "SSH-2.0-x\r\n", "HTTP/1.1\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"),
            Some((200, String::new()))
        );
    }
}
