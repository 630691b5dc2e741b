//! What a user's own access token opens: who they are (OpenID Connect Core 1.0 section 5.3), and signing out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::form::Form;
use super::refusal::{OAuthRefusal, OAuthRefused};
use crate::issuer::api::{Refusal, Refused, bearer};
use crate::issuer::client::Audience;
use crate::issuer::users::User;
use crate::issuer::{Inner, api};
use crate::store;

/// A token that is not in the `Authorization` header (RFC 6750 section 2.2).
#[derive(Deserialize, ToSchema)]
pub(super) struct TokenInForm {
    access_token: Option<String>,
}

/// Who the user of the access token is.
#[utoipa::path(
    get, path = "/cis/oidc/me", tag = "oauth", operation_id = "getUserInfo", security(("user" = [])),
    responses(
        (status = 200, description = "The user", body = UserInfo),
        (status = 401, description = "There is no access token of a user, or it is not valid", body = OAuthRefused),
        (status = 503, description = "The store does not answer", body = Refused),
    ),
)]
pub(super) async fn me(State(issuer): State<Arc<Inner>>, headers: HeaderMap) -> Result<Response, OAuthRefusal> {
    shown(&issuer, bearer(&headers)).await
}

/// Who the user of the access token is, which may be in the form as well.
#[utoipa::path(
    post, path = "/cis/oidc/me", tag = "oauth", operation_id = "postUserInfo", security(("user" = []), ()),
    request_body(content = Option<TokenInForm>, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The user", body = UserInfo),
        (status = 400, description = "The form is not in order", body = OAuthRefused),
        (status = 401, description = "There is no access token of a user, or it is not valid", body = OAuthRefused),
        (status = 413, description = "The body is too large", body = OAuthRefused),
        (status = 503, description = "The store does not answer", body = Refused),
    ),
)]
pub(super) async fn me_by_form(
    State(issuer): State<Arc<Inner>>,
    headers: HeaderMap,
    Form(form): Form<TokenInForm>,
) -> Result<Response, OAuthRefusal> {
    let in_form = form.access_token.as_deref().filter(|_| !headers.contains_key(AUTHORIZATION));
    shown(&issuer, in_form.or_else(|| bearer(&headers))).await
}

async fn shown(issuer: &Inner, token: Option<&str>) -> Result<Response, OAuthRefusal> {
    const NO_TOKEN: OAuthRefused =
        OAuthRefused::new("invalid_token", "the access token is missing, invalid or expired");
    Ok(match issuer.user_of(token).await? {
        Some(user) => Json(UserInfo::of(&user)).into_response(),
        None => {
            let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
            (StatusCode::UNAUTHORIZED, challenge, Json(NO_TOKEN)).into_response()
        }
    })
}

#[derive(Serialize, ToSchema)]
pub(super) struct LoggedOut {
    /// How many sessions there were.
    sessions_count: usize,
}

/// Ends all sessions of the user whose access token it is.
#[utoipa::path(
    post, path = "/cis/v1/auth/logout", tag = "sessions", operation_id = "logoutUser", security(("user" = [])),
    responses(
        (status = 200, description = "They are over", body = LoggedOut),
        (status = 401, description = "There is no access token of a user, or it is not valid", body = Refused),
        (status = 503, description = "The store does not answer", body = Refused),
    ),
)]
pub(super) async fn logout(State(issuer): State<Arc<Inner>>, headers: HeaderMap) -> Result<Json<LoggedOut>, Refusal> {
    let user = issuer.user_of(bearer(&headers)).await?.ok_or(api::INVALID_TOKEN)?;
    Ok(Json(LoggedOut { sessions_count: issuer.end_sessions(&user.user_id, |_| true).await? }))
}

impl Inner {
    /// Whose access token for this API it is, now.
    async fn user_of(&self, token: Option<&str>) -> Result<Option<User>, store::Error> {
        let Some(token) = token else { return Ok(None) };
        let Some(claims) = self.access_claims_of(token, Some(&Audience::default())).await? else { return Ok(None) };
        if claims.is_clients() {
            return Ok(None);
        }
        let Some(client) = self.clients.find(&claims.client_id) else { return Ok(None) };
        Ok(self.user(&claims.sub).await?.filter(|user| user.is_active() && user.is_visible_to(client)))
    }
}

/// The standard claims (section 5.1), and those of Mosaic's; each is there only if the user has it.
#[derive(Serialize, ToSchema)]
pub(super) struct UserInfo {
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    middle_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    groups: Vec<String>,
    roles: Vec<String>,
    /// Seconds since 1970.
    updated_at: i64,
}

impl UserInfo {
    fn of(user: &User) -> Self {
        let (person, email) = (&user.person, user.email.as_ref());
        let name = &person.name;
        let words: Vec<&str> =
            [&name.first_name, &name.middle_name, &name.last_name].into_iter().flatten().map(String::as_str).collect();
        Self {
            sub: user.user_id.clone(),
            email: email.map(|email| email.value.to_string()),
            email_verified: email.map(|email| email.email_verified),
            name: (!words.is_empty()).then(|| words.join(" ")),
            given_name: name.first_name.clone(),
            middle_name: name.middle_name.clone(),
            family_name: name.last_name.clone(),
            preferred_username: user.username.clone(),
            picture: person.picture.clone(),
            locale: person.language.clone(),
            phone_number: user.phone.as_ref().map(|phone| phone.value.to_string()),
            groups: user.group_names().into_iter().map(Into::into).collect(),
            roles: user.roles.clone(),
            updated_at: user.updated_at.unix_seconds(),
        }
    }
}
