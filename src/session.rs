//! Sessions: who is signed in, since when, and until when.

use serde::{Deserialize, Serialize};

use crate::setting::Span;
use crate::store;

/// `[session]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where sessions, attempts and the issuer's users are kept.
    pub store: store::Location,
    /// A session ends this long after signing in, whatever happens.
    pub lifetime: Span,
    /// A session ends this long after it was last used.
    pub idle_timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { store: store::Location::default(), lifetime: Span::days(7), idle_timeout: Span::hours(12) }
    }
}
