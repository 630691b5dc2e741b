//! The routes of Mosaic's API, who may call them, and how they refuse.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::tls::Peer;
use super::users::calls as users;
use super::{Inner, groups, identifier, link, oauth, one_time_code, openapi, refresh, sessions, user_list};

mod refusal;

pub(super) use refusal::{CommonRefusals, ConflictRefused, LinkRefused, Refusal, Refused, SymbolRefused};

/// The bearer token of a call is missing, or is not one that may make it.
pub(super) const INVALID_TOKEN: Refusal = Refusal::Numbered(StatusCode::UNAUTHORIZED, "Invalid token");

/// The largest body that is read, in bytes …
const BODY_LIMIT: usize = 64 * 1024;
/// … and the largest one with a user's data in it: twice 500 KB, and room for the rest.
const LARGE_BODY_LIMIT: usize = 1_200_000;

pub(super) fn router(issuer: Arc<Inner>) -> Router {
    let large = DefaultBodyLimit::max(LARGE_BODY_LIMIT);
    let guarded = OpenApiRouter::default()
        .routes(routes!(link::calls::send))
        .routes(routes!(link::calls::authenticate))
        .routes(routes!(one_time_code::calls::send))
        .routes(routes!(one_time_code::calls::authenticate))
        .routes(routes!(sessions::authenticate))
        .routes(routes!(sessions::logout))
        .routes(routes!(refresh::refresh))
        .routes(routes!(sessions::list, sessions::end_all))
        .routes(routes!(users::create, user_list::list).layer(large))
        .routes(routes!(users::by_id, users::update).layer(large))
        .routes(routes!(identifier::by_email))
        .routes(routes!(identifier::by_phone_number))
        .routes(routes!(identifier::by_username))
        .routes(routes!(identifier::by_external_user_id))
        .routes(routes!(identifier::by_identifier))
        .routes(routes!(users::verify_email))
        .routes(routes!(users::remove_from_app))
        .routes(routes!(users::delete))
        .routes(routes!(groups::calls::of_user))
        .routes(routes!(groups::calls::create, groups::calls::list).layer(large))
        .routes(routes!(groups::calls::by_id, groups::calls::update, groups::calls::delete).layer(large))
        .routes(routes!(groups::calls::add_members, groups::calls::members))
        .routes(routes!(groups::calls::remove_member))
        .route_layer(middleware::from_fn_with_state(issuer.clone(), require_client));
    let (router, document) = oauth::router().merge(guarded).split_for_parts();
    router
        .merge(openapi::router(document))
        .fallback(|| async { Refusal::Numbered(StatusCode::NOT_FOUND, "Not found") })
        .method_not_allowed_fallback(|| async {
            Refusal::Numbered(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::map_response(no_store))
        .with_state(issuer)
}

/// Tokens and users are nobody's to keep (RFC 6749 section 5.1).
pub(super) async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets clients in, and tells the call who makes it.
async fn require_client(State(issuer): State<Arc<Inner>>, mut request: Request, next: Next) -> Response {
    let caller = match bearer(request.headers()) {
        Some(token) => issuer.caller(token, Peer::of(request.extensions())).await,
        None => Ok(None),
    };
    match caller {
        Ok(Some(caller)) => drop(request.extensions_mut().insert(caller)),
        Ok(None) => return INVALID_TOKEN.into_response(),
        Err(error) => return Refusal::from(error).into_response(),
    }
    // What was begun is finished, even for a caller that hangs up: a change has more than one step.
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a call to the issuer did not end");
            Refusal::Numbered(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error").into_response()
        }
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// A JSON body, whatever its `Content-Type` says; members nobody knows are ignored.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Refusal::Numbered(rejection.status(), "The body cannot be read"))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Refusal::Fields(vec![error.to_string()]))
    }
}

/// A JSON body of a call that refuses with symbols.
pub(super) struct SymbolBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for SymbolBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Body(body) = Body::from_request(request, state).await.map_err(Refusal::into_invalid_input)?;
        Ok(Self(body))
    }
}

/// The one variable segment of a path, percent-decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(segment) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| BAD_PATH)?;
        Ok(Self(segment))
    }
}

/// The two variable segments of a path, percent-decoded.
pub(super) struct Segments(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((first, second)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|_| BAD_PATH)?;
        Ok(Self(first, second))
    }
}

const BAD_PATH: Refusal = Refusal::Numbered(StatusCode::BAD_REQUEST, "The path cannot be read");

/// The parameters behind the question mark; those that nobody knows are ignored.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query).map(Self).map_err(|error| Refusal::Fields(vec![error.to_string()]))
    }
}
