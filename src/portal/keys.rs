//! The keys that upstreams check assertions by: public, and the same on every host.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use super::Portal;
use super::answer::{Failure, Refusal};
use crate::assertion::CACHED_FOR;
use crate::session::Chain;

/// `GET /.linkgate/keys.json` (RFC 7517 section 5)
pub(super) async fn show(State(portal): State<Arc<Portal>>) -> Result<Response, Failure> {
    let keys = portal.assertions.key_set().await.map_err(|error| {
        tracing::error!(error = %Chain(&error), "failed to show the keys of assertions");
        Refusal::StoreUnavailable
    })?;
    let cache_control = format!("public, max-age={}", CACHED_FOR.as_secs());
    Ok(([(header::CACHE_CONTROL, cache_control)], Json(keys)).into_response())
}
