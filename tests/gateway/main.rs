//! The stories: the real program, driven over sockets as visitors, operators and attackers do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, and says where")]

mod architecture;
mod asking;
mod at_rest;
mod budgets;
mod callback;
mod config;
mod harness;
mod issuer;
mod mosaic;
mod pages;
mod program;
mod radicale;
mod recorder;
mod redis_server;
mod return_targets;
mod sessions;
mod sign_out;
mod store;
mod walk;
