//! The operator's listener: health and metrics, apart from what visitors can reach.
//!
//! It has no sign-in, so it answers nothing that a web page in the operator's browser could have asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::origin::Authority;
use crate::telemetry::Metrics;

mod readiness;

pub use readiness::Readiness;

/// `[admin]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address of health and metrics, never that of the gateway.
    pub listen: SocketAddr,
    /// Names, without a port, by which it may be called beside `localhost` and every address.
    pub hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9180)), hosts: Vec::new() }
    }
}

/// What the listener tells.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Whether requests can be served.
    pub readiness: Readiness,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Names, without port, by which it may be called beside `localhost` and every address.
    pub hosts: Vec<String>,
}

/// `/health/live`, `/health/ready` and `/metrics`; everything else is refused in JSON.
pub fn router(state: Admin) -> Router {
    Router::new()
        .route("/health/live", get(async || Json(json!({ "status": "live" }))))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET and HEAD are answered here")
        })
        .fallback(async || {
            refusal(StatusCode::NOT_FOUND, "not_found", "there are /health/live, /health/ready and /metrics")
        })
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

async fn ready(State(admin): State<Admin>) -> Response {
    let (reasons, warnings) = (admin.readiness.reasons(), admin.readiness.warnings());
    let (status, mut body) = if reasons.is_empty() {
        (StatusCode::OK, json!({ "status": "ready" }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not_ready", "reasons": reasons }))
    };
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    (status, Json(body)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.render())
}

fn refusal(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}

/// Refuses what a web page sent, and marks every answer as private to this moment and of the type it says.
async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let mut answer = if !admin.is_called_by_name(&request) {
        refusal(StatusCode::FORBIDDEN, "unknown_host", "call this listener by its address")
    } else if comes_from_elsewhere(request.headers()) {
        refusal(StatusCode::FORBIDDEN, "other_origin", "pages of other origins get nothing here")
    } else {
        next.run(request).await
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

impl Admin {
    /// A page whose name was made to resolve to this machine (DNS rebinding) says that name in `Host`.
    fn is_called_by_name(&self, request: &Request) -> bool {
        let target = request.uri().authority().map(http::uri::Authority::as_str);
        let target_is_known = target.is_none_or(|target| self.knows(target));
        match only(request.headers(), header::HOST) {
            Field::Once(host) => target_is_known && self.knows(host),
            // Simple health checks speak HTTP/1.0, which browsers do not.
            Field::Absent => target_is_known && (target.is_some() || request.version() == Version::HTTP_10),
            Field::Unclear => false,
        }
    }

    fn knows(&self, authority: &str) -> bool {
        Authority::parse(authority).is_some_and(|Authority { host, .. }| {
            let is_address = matches!(url::Host::parse(&host), Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)));
            is_address || host == "localhost" || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(&host))
        })
    }
}

fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let own = |origin: &str| match (origin.split_once("://"), only(headers, header::HOST)) {
        (Some(("http" | "https", authority)), Field::Once(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    };
    match only(headers, header::ORIGIN) {
        Field::Absent => false,
        Field::Once(origin) => !own(origin),
        Field::Unclear => true,
    }
}

/// A header field that may be there once.
enum Field<'a> {
    Absent,
    Once(&'a str),
    /// More than once, or not in ASCII.
    Unclear,
}

fn only(headers: &HeaderMap, name: HeaderName) -> Field<'_> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Field::Absent,
        (Some(value), None) => value.to_str().map_or(Field::Unclear, Field::Once),
        (Some(_), Some(_)) => Field::Unclear,
    }
}

#[cfg(test)]
mod tests;
