//! The stories: the real program, driven over sockets as visitors, operators and attackers do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, and says where")]

mod config;
mod harness;
mod issuer;
mod mosaic;
mod recorder;
mod redis_server;
mod store;
mod walk;
