//! The debug page: what the gateway knows of its visitor, what it makes of an address, and what the application gets.
//! What that is, it is handed; the portal knows nothing of routes.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;

use super::answer::{Failure, Refusal};
use super::{Portal, Visit, query_value, text};
use crate::clock::Timestamp;
use crate::pages::{DebugPage, Explained, RefusedBefore};
use crate::session::Live;
use crate::session::refusals::Refused;

/// The path of the page.
pub const PATH: &str = "/.linkgate/debug";

/// Explains what becomes of requests.
#[async_trait]
pub trait Explain: Send + Sync {
    /// Whether a visitor may see the page.
    fn admits(&self, live: &Live) -> bool;

    /// What becomes of it when the visitor opens `address`; `None` where that is no address.
    async fn explain(&self, address: &str, live: &Arc<Live>, client: IpAddr, now: Timestamp) -> Option<Explained>;
}

/// `GET /.linkgate/debug`
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let debug = portal.debug.as_ref().ok_or(Refusal::NotFound)?;
    let live = portal.sessions.find(&headers, visit.place()).await?.live().ok_or(Refusal::SignInRequired)?;
    let now = portal.clock.now();
    // Whoever may not see it does not learn that it is there.
    if !debug.admits(&live) {
        return Err(Refusal::NotFound.into());
    }
    let asked = match query_value(query.as_deref(), "address") {
        typed if typed.is_empty() => portal.came_from(&headers, &visit),
        typed => typed,
    };
    let address = if asked.starts_with('/') { format!("{}{asked}", visit.origin) } else { asked.clone() };
    let identity = live.identity();
    let view = DebugPage {
        address: identity.shown_name(),
        subject: identity.subject.to_string(),
        groups: identity.groups.clone(),
        roles: identity.roles.clone(),
        signed_in_at: live.signed_in_at(),
        expires_at: live.expires_at(),
        idle_timeout: portal.sessions.idle_timeout(),
        refusals: live.refusals().newest_first().into_iter().map(shown).collect(),
        explained: debug.explain(&address, &live, visit.client, now).await,
        asked,
    };
    Ok(portal.refuser(&visit).show(&view))
}

fn shown(Refused { at, address, verdict, reason, request_id }: Refused) -> RefusedBefore {
    RefusedBefore { at, address, verdict, reason, request_id }
}

impl Portal {
    /// The page of ours that a visitor comes from, or else the first one.
    fn came_from(&self, headers: &HeaderMap, visit: &Visit) -> String {
        self.accept(text(headers, "referer").unwrap_or_default(), visit)
    }
}
