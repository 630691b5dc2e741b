//! Where a connection came from, as a balancer says ahead of it: the PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt as _;

use super::Socket;

/// No header is longer: the second version has a length of its own, and this leaves room for its extensions.
const MOST_BYTES: usize = 4096;

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bad {
    /// It broke off, or went on for too long.
    #[error("the PROXY header does not end")]
    Endless,
    /// It begins with something else.
    #[error("there is no PROXY header")]
    Missing,
}

/// Reads the header, which must be there, and gives the visitor's address; none where the balancer speaks for itself
/// (`LOCAL`, `UNKNOWN`). What follows it stays in the socket.
pub(super) async fn read(socket: &mut Socket) -> Result<Option<SocketAddr>, Bad> {
    let mut buffer = Vec::with_capacity(256);
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    loop {
        let mut chunk = [0; 256];
        let read = socket.read(&mut chunk).await.map_err(|_| Bad::Endless)?;
        buffer.extend_from_slice(&chunk[..read]);
        match ProxyHeader::parse(&buffer, config) {
            Ok((header, length)) => {
                let source = header.proxied_address().map(|address| address.source);
                socket.unread(&buffer[length..]);
                return Ok(source);
            }
            Err(proxy_header::Error::BufferTooShort) if read > 0 && buffer.len() < MOST_BYTES => {}
            Err(proxy_header::Error::BufferTooShort) => return Err(Bad::Endless),
            Err(_) => return Err(Bad::Missing),
        }
    }
}
