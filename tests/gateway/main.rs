//! Whole stories, told against real parts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod issuer;
mod redis_server;
mod store;
