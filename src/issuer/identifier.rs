//! The values by which callers name a user, in the words of the sign-in calls and in those of the user calls.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;

use super::Inner;
use super::api::{CommonRefusals, Parameters, Refusal, Refused, Segment};
use super::client::{Caller, Client};
use super::phone::PhoneNumber;
use super::users::calls::UserResult;
use super::users::{Unique, User};
use crate::identity::EmailAddress;
use crate::store;

/// What kind of value names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Email,
    PhoneNumber,
    Username,
    ExternalUserId,
}

impl Kind {
    /// `identifier_type` of the sign-in calls.
    fn in_sign_in(name: &str) -> Option<Self> {
        match name {
            "email" => Some(Self::Email),
            "phone_number" => Some(Self::PhoneNumber),
            "username" => Some(Self::Username),
            "external_user_id" => Some(Self::ExternalUserId),
            _ => None,
        }
    }

    /// `identifier_name` of `GET /v1/users/identifier`.
    fn in_users(name: &str) -> Option<Self> {
        match name {
            "email" => Some(Self::Email),
            "phoneNumber" => Some(Self::PhoneNumber),
            "username" => Some(Self::Username),
            "externalUserId" => Some(Self::ExternalUserId),
            _ => None,
        }
    }

    /// The value as something that one user has; `None` when nobody can have it.
    fn unique(self, value: &str) -> Option<Unique> {
        match self {
            Self::Email => EmailAddress::parse(value).ok().map(Unique::Email),
            Self::PhoneNumber => PhoneNumber::parse(value).map(Unique::Phone),
            Self::Username => Some(Unique::Username(value.to_owned())),
            Self::ExternalUserId => Some(Unique::ExternalUserId(value.to_owned())),
        }
    }
}

impl Inner {
    async fn user_by(&self, client: &Client, kind: Option<Kind>, value: &str) -> Result<Option<User>, store::Error> {
        let Some(unique) = kind.and_then(|kind| kind.unique(value)) else { return Ok(None) };
        Ok(self.find_user(&unique).await?.filter(|user| user.is_visible_to(client)))
    }

    /// The user whom a sign-in call means; nobody has an identifier of an unknown type.
    pub(super) async fn identified(
        &self,
        client: &Client,
        identifier_type: &str,
        identifier: &str,
    ) -> Result<Option<User>, store::Error> {
        if identifier_type == "user_id" {
            return Ok(self.user(identifier).await?.filter(|user| user.is_visible_to(client)));
        }
        self.user_by(client, Kind::in_sign_in(identifier_type), identifier).await
    }

    async fn shown_by(&self, caller: &Caller, kind: Option<Kind>, value: &str) -> Result<Json<UserResult>, Refusal> {
        let user = self.user_by(&caller.client, kind, value).await?.ok_or(Refusal::NO_USER)?;
        Ok(UserResult::new(user, &caller.client))
    }
}

/// The user with that primary address.
#[utoipa::path(
    get, path = "/cis/v1/users/email/{email}", tag = "users", operation_id = "getUserByEmail",
    params(("email" = String, Path, example = "ada@example.com")),
    responses(
        (status = 200, description = "The user", body = UserResult),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn by_email(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(email): Segment,
) -> Result<Json<UserResult>, Refusal> {
    issuer.shown_by(&caller, Some(Kind::Email), &email).await
}

/// The user with that phone number.
#[utoipa::path(
    get, path = "/cis/v1/users/phone-number/{phone_number}", tag = "users", operation_id = "getUserByPhoneNumber",
    params(("phone_number" = String, Path, example = "+4930123456")),
    responses(
        (status = 200, description = "The user", body = UserResult),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn by_phone_number(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(number): Segment,
) -> Result<Json<UserResult>, Refusal> {
    issuer.shown_by(&caller, Some(Kind::PhoneNumber), &number).await
}

/// The user of that name.
#[utoipa::path(
    get, path = "/cis/v1/users/username/{username}", tag = "users", operation_id = "getUserByUsername",
    params(("username" = String, Path, example = "ada")),
    responses(
        (status = 200, description = "The user", body = UserResult),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn by_username(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(username): Segment,
) -> Result<Json<UserResult>, Refusal> {
    issuer.shown_by(&caller, Some(Kind::Username), &username).await
}

/// The user whom another system knows by that ID.
#[utoipa::path(
    get, path = "/cis/v1/users/external-user-id/{external_user_id}", tag = "users",
    operation_id = "getUserByExternalUserId",
    params(("external_user_id" = String, Path)),
    responses(
        (status = 200, description = "The user", body = UserResult),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn by_external_user_id(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
) -> Result<Json<UserResult>, Refusal> {
    issuer.shown_by(&caller, Some(Kind::ExternalUserId), &id).await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Identifier {
    /// `email`, `phoneNumber`, `username` or `externalUserId`; nobody has an identifier of another name.
    #[param(example = "email")]
    identifier_name: String,
    #[param(example = "ada@example.com")]
    identifier_value: String,
}

/// The user with that identifier.
#[utoipa::path(
    get, path = "/cis/v1/users/identifier", tag = "users", operation_id = "getUserByIdentifier",
    params(Identifier),
    responses(
        (status = 200, description = "The user", body = UserResult),
        (status = 400, description = "A parameter is missing", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn by_identifier(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Parameters(identifier): Parameters<Identifier>,
) -> Result<Json<UserResult>, Refusal> {
    let kind = Kind::in_users(&identifier.identifier_name);
    issuer.shown_by(&caller, kind, &identifier.identifier_value).await
}
