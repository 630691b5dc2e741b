//! What a connection and a request may have of the gateway: bytes, time, and a place.

use serde::{Deserialize, Serialize};

use crate::setting::Span;

/// `[limits]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request's header fields, names and values together.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// The time for TLS, and for what a balancer says, ahead of a connection's first request.
    pub handshake_timeout: Span,
    /// The time for a whole request header to arrive.
    pub header_timeout: Span,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Span,
    /// Bytes per second below which a request body is given up.
    pub body_bytes_per_second: usize,
    /// Bytes of a request body, without a limit where there is none.
    pub body_bytes: Option<u64>,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one client address.
    pub connections_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_fields: 100,
            target_bytes: 16 * 1024,
            handshake_timeout: Span::seconds(10),
            header_timeout: Span::seconds(15),
            keep_alive: Span::seconds(60),
            body_bytes_per_second: 100,
            body_bytes: None,
            connections: 10_000,
            connections_per_peer: 5_000,
        }
    }
}
