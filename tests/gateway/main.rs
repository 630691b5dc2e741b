//! The stories: the real program, driven over sockets as visitors, operators and attackers do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, and says where")]

mod config;
mod failing_store;
mod flow;
mod harness;
mod instances;
mod issuer;
mod logs;
mod mosaic;
mod outages;
mod recorder;
mod redis_server;
mod renewal;
mod stand_in;
mod store;
mod store_outages;
mod walk;
