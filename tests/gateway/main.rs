//! The stories: the real program, driven over sockets as visitors, operators and attackers do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails, and says where")]

mod architecture;
mod asking;
mod at_rest;
mod budgets;
mod callback;
mod config;
mod failing_store;
mod flow;
mod harness;
mod instances;
mod issuer;
mod logs;
mod mosaic;
mod outages;
mod pages;
mod program;
mod radicale;
mod recorder;
mod redis_server;
mod renewal;
mod return_targets;
mod sessions;
mod sign_out;
mod stand_in;
mod store;
mod store_outages;
mod walk;
