//! What a user's own access token opens: who they are (OpenID Connect Core 1.0 section 5.3), and signing out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::form::Form;
use super::refusal::OAuthRefusal;
use crate::issuer::api::{Refusal, bearer};
use crate::issuer::client::Audience;
use crate::issuer::users::User;
use crate::issuer::{Inner, api};
use crate::store;

/// `GET|POST /cis/oidc/me`
pub(super) async fn me(State(issuer): State<Arc<Inner>>, request: Request) -> Result<Response, OAuthRefusal> {
    let token = match (request.headers().contains_key(AUTHORIZATION), request.method()) {
        (false, &Method::POST) => {
            use axum::extract::FromRequest as _;
            let form = Form::from_request(request, &()).await?;
            form.field("access_token")?.map(std::borrow::Cow::into_owned)
        }
        _ => bearer(request.headers()).map(str::to_owned),
    };
    let user = match token {
        Some(token) => issuer.user_of(&token).await?,
        None => None,
    };
    Ok(user.map_or_else(no_token, |user| Json(user_info(&user)).into_response()))
}

/// `POST /cis/v1/auth/logout`: all sessions of the user end.
pub(super) async fn logout(State(issuer): State<Arc<Inner>>, request: Request) -> Result<Json<Value>, Refusal> {
    let user = match bearer(request.headers()) {
        Some(token) => issuer.user_of(token).await?,
        None => None,
    };
    let user = user.ok_or(api::INVALID_TOKEN)?;
    Ok(Json(json!({ "sessions_count": issuer.end_sessions(&user.user_id, |_| true).await? })))
}

impl Inner {
    /// Whose access token for this API it is, now.
    async fn user_of(&self, token: &str) -> Result<Option<User>, store::Error> {
        let Some(claims) = self.access_claims_of(token, Some(&Audience::default())).await? else { return Ok(None) };
        if claims.is_clients() {
            return Ok(None);
        }
        let Some(client) = self.clients.find(&claims.client_id) else { return Ok(None) };
        Ok(self.user(&claims.sub).await?.filter(|user| user.is_active() && user.is_visible_to(client)))
    }
}

/// The standard claims (section 5.1), and those of Mosaic's.
fn user_info(user: &User) -> Map<String, Value> {
    let (person, email, phone) = (&user.person, user.email.as_ref(), user.phone.as_ref());
    let name = &person.name;
    let words: Vec<&str> =
        [&name.first_name, &name.middle_name, &name.last_name].into_iter().flatten().map(String::as_str).collect();
    let claims = [
        ("sub", json!(user.user_id)),
        ("email", json!(email.map(|email| &email.value))),
        ("email_verified", json!(email.map(|email| email.email_verified))),
        ("name", if words.is_empty() { Value::Null } else { json!(words.join(" ")) }),
        ("given_name", json!(name.first_name)),
        ("middle_name", json!(name.middle_name)),
        ("family_name", json!(name.last_name)),
        ("preferred_username", json!(user.username)),
        ("picture", json!(person.picture)),
        ("locale", json!(person.language)),
        ("phone_number", json!(phone.map(|phone| &phone.value))),
        ("groups", json!(user.group_names())),
        ("roles", json!(user.roles)),
        ("updated_at", json!(user.updated_at.unix_seconds())),
    ];
    claims.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn no_token() -> Response {
    let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
    let body =
        json!({ "error": "invalid_token", "error_description": "the access token is missing, invalid or expired" });
    (StatusCode::UNAUTHORIZED, challenge, Json(body)).into_response()
}
