//! The paths of oauth2-proxy, for applications and proxies that know them. They lead to the gateway's own; nothing more
//! can be done by them.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http::HeaderMap;
use serde::Serialize;

use super::answer::{Failure, Refusal, see_other};
use super::{Portal, Visit, query_value};
use crate::identity::{EmailAddress, Subject};

const START: &str = "/oauth2/start";
const SIGN_IN: &str = "/oauth2/sign_in";
const SIGN_OUT: &str = "/oauth2/sign_out";
const USER_INFO: &str = "/oauth2/userinfo";

/// Those that visitors open. What proxies ask at `/oauth2/auth` is the proxy's to answer.
pub const PATHS: [&str; 4] = [START, SIGN_IN, SIGN_OUT, USER_INFO];

pub(super) fn router(portal: &Arc<Portal>) -> Router {
    Router::new()
        .route(START, get(sign_in))
        .route(SIGN_IN, get(sign_in))
        .route(SIGN_OUT, get(sign_out))
        .route(USER_INFO, get(user_info))
        .method_not_allowed_fallback(async || Failure::from(Refusal::Status(405)))
        .with_state(Arc::clone(portal))
}

/// `GET /oauth2/start?rd=`
async fn sign_in(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Response {
    lead_to("/.linkgate/sign-in", &portal, &visit, query.as_deref())
}

/// `GET /oauth2/sign_out?rd=`: the page that asks, because nothing ends by a link.
async fn sign_out(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Response {
    lead_to("/.linkgate/sign-out", &portal, &visit, query.as_deref())
}

fn lead_to(path: &str, portal: &Portal, visit: &Visit, query: Option<&str>) -> Response {
    let target = portal.accept(&query_value(query, "rd"), visit);
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &target).finish();
    see_other(&format!("{path}?{query}"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserInfo<'a> {
    user: &'a Subject,
    email: Option<&'a EmailAddress>,
    groups: &'a [String],
    preferred_username: Option<&'a str>,
}

/// `GET /oauth2/userinfo`
async fn user_info(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let live = portal.sessions.find(&headers, visit.place()).await?.live().ok_or(Refusal::SignInRequired)?;
    let identity = live.identity();
    let shown = UserInfo {
        user: &identity.subject,
        email: identity.email.as_ref(),
        groups: &identity.groups,
        preferred_username: identity.username.as_deref().or(identity.email.as_ref().map(EmailAddress::as_str)),
    };
    Ok(Json(shown).into_response())
}
