//! linkgate: a reverse-proxy authentication gateway.
//!
//! The modules in reading order; `ARCHITECTURE.md` has the map and the invariants.

pub mod admin;
pub mod agent;
pub mod assertion;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod demo;
pub mod doctor;
pub mod gateway;
pub mod grant;
pub mod identity;
pub mod issuer;
pub mod mosaic;
pub mod origin;
pub mod pages;
pub mod pem;
pub mod personal_token;
pub mod portal;
pub mod proxy;
pub mod round;
pub mod secret;
pub mod session;
pub mod setting;
pub mod store;
pub mod telemetry;
