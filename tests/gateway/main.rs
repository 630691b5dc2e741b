//! The stories: the real program, driven over sockets as visitors, operators and attackers do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, and says where")]

mod access;
mod config;
mod cookies;
mod framing;
mod harness;
mod headers;
mod issuer;
mod limits;
mod mosaic;
mod recorder;
mod redis_server;
mod refusals;
mod store;
mod streams;
mod targets;
mod upstreams;
mod walk;
mod wire;
