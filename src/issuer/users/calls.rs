//! The calls that make, read, change and remove users.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::details::{Details, Update, is_too_large, new_user};
use super::{ShownUser, Unique, User};
use crate::identity::EmailAddress;
use crate::issuer::Inner;
use crate::issuer::api::{Body, CommonRefusals, ConflictRefused, Refusal, Refused, Segment, Segments};
use crate::issuer::client::{Caller, Client};

/// A user, wrapped as Mosaic does.
#[derive(Serialize, ToSchema)]
pub(in crate::issuer) struct UserResult {
    result: ShownUser,
}

impl UserResult {
    pub(in crate::issuer) fn new(user: User, client: &Client) -> Json<Self> {
        Json(Self { result: user.shown(client) })
    }
}

impl Inner {
    /// The user, if the client acts on them.
    pub(in crate::issuer) async fn visible_user(&self, client: &Client, user_id: &str) -> Result<User, Refusal> {
        let user = self.user(user_id).await?.filter(|user| user.is_visible_to(client));
        user.ok_or(Refusal::NO_USER)
    }
}

/// Makes a user of the caller's application, or adds one of another application to it.
///
/// For a user who is in the tenant already nothing but the address, or without one the phone number, counts.
#[utoipa::path(
    post, path = "/cis/v1/users", tag = "users", operation_id = "createUser",
    request_body = Details,
    responses(
        (status = 201, description = "The user is one of the application now", body = UserResult),
        (status = 400, description = "A detail is not what it should be", body = Refused),
        (status = 409, description = "The user is one of the application, or a value is another's", body = ConflictRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn create(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(details): Body<Details>,
) -> Result<(StatusCode, Json<UserResult>), Refusal> {
    let client = &caller.client;
    let checked = details.check().map_err(Refusal::Fields)?;
    let known = match (&checked.email, &checked.phone) {
        (Some(address), _) => issuer.find_user(&Unique::Email(address.clone())).await?,
        (None, Some(number)) => issuer.find_user(&Unique::Phone(number.clone())).await?,
        (None, None) => None,
    };
    if let Some(known) = known {
        let added = issuer.add_to_app(&known, client).await?;
        return Ok((StatusCode::CREATED, UserResult::new(added, client)));
    }
    let checked = checked.with_groups(&issuer).await?;
    let user = new_user(checked, &client.app_id, issuer.clock.now())
        .ok_or_else(|| Refusal::field("email or phone_number should not be empty"))?;
    issuer.add_user(&user).await?.map_err(|taken| taken.conflict())?;
    Ok((StatusCode::CREATED, UserResult::new(user, client)))
}

impl Inner {
    async fn add_to_app(&self, known: &User, client: &Client) -> Result<User, Refusal> {
        let exists = || Refusal::Conflict("User already exists", "user_already_exists");
        let added = self.change_user(&known.user_id, |user| {
            if user.is_of(&client.app_id) {
                return Err(exists());
            }
            user.apps.insert(client.app_id.clone(), super::Association::default());
            Ok(())
        });
        // Removed a moment ago: the caller may try again.
        added.await?.ok_or_else(exists)
    }
}

/// The user with that ID.
#[utoipa::path(
    get, path = "/cis/v1/users/{user_id}", tag = "users", operation_id = "getUserById",
    params(("user_id" = String, Path)),
    responses(
        (status = 200, description = "The user", body = UserResult),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn by_id(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
) -> Result<Json<UserResult>, Refusal> {
    let user = issuer.visible_user(&caller.client, &user_id).await?;
    Ok(UserResult::new(user, &caller.client))
}

/// Changes what the call names: texts, lists and objects are replaced, custom data is merged (null takes a member away).
#[utoipa::path(
    put, path = "/cis/v1/users/{user_id}", tag = "users", operation_id = "updateUser",
    params(("user_id" = String, Path)),
    request_body = Update,
    responses(
        (status = 200, description = "The user as changed", body = UserResult),
        (status = 400, description = "A detail is not what it should be", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        (status = 409, description = "A value is another user's", body = ConflictRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn update(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
    Body(update): Body<Update>,
) -> Result<Json<UserResult>, Refusal> {
    let client = &caller.client;
    let status = update.status;
    let checked = update.details.check().map_err(Refusal::Fields)?;
    issuer.visible_user(client, &user_id).await?;
    let checked = checked.with_groups(&issuer).await?;
    let now = issuer.clock.now();
    let changed = issuer.change_user(&user_id, |user| {
        // Between the look above and the lease the user may have left the application.
        if !user.is_visible_to(client) {
            return Err(Refusal::NO_USER);
        }
        checked.apply(user, &client.app_id);
        if let Some(status) = status {
            user.set_status(status, now);
        }
        if is_too_large(user, &client.app_id) {
            return Err(Refusal::field("custom_data and custom_app_data must not be larger than 500 KB"));
        }
        Ok(())
    });
    let user = changed.await?.ok_or(Refusal::NO_USER)?;
    Ok(UserResult::new(user, client))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::issuer) struct VerifyEmail {
    /// Whether the address becomes the primary one, and the primary one a secondary one.
    change_to_primary: bool,
}

/// Notes that an address of the user is verified.
#[utoipa::path(
    post, path = "/cis/v1/users/{user_id}/emails/{email}/verify", tag = "users", operation_id = "verifyUserEmail",
    params(("user_id" = String, Path), ("email" = String, Path)),
    request_body = VerifyEmail,
    responses(
        (status = 202, description = "The address is verified", body = UserResult),
        (status = 400, description = "The path or the body cannot be read", body = Refused),
        (status = 404, description = "There is no such user, or the user has no such address", body = Refused),
        (status = 409, description = "The address is another user's primary one", body = ConflictRefused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn verify_email(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segments(user_id, email): Segments,
    Body(call): Body<VerifyEmail>,
) -> Result<(StatusCode, Json<UserResult>), Refusal> {
    const NO_EMAIL: Refusal = Refusal::Numbered(StatusCode::NOT_FOUND, "Email not found");
    let address = EmailAddress::parse(&email).map_err(|_| NO_EMAIL)?;
    issuer.visible_user(&caller.client, &user_id).await?;
    let now = issuer.clock.now();
    let changed = issuer.change_user(&user_id, |user| {
        if let Some(primary) = user.email.as_mut().filter(|primary| primary.value == address) {
            primary.prove(now);
            return Ok(());
        }
        let place = user.secondary_emails.iter().position(|email| email.value == address).ok_or(NO_EMAIL)?;
        user.secondary_emails[place].prove(now);
        if call.change_to_primary {
            let new = user.secondary_emails.remove(place);
            user.secondary_emails.extend(user.email.replace(new));
        }
        Ok(())
    });
    let user = changed.await?.ok_or(Refusal::NO_USER)?;
    Ok((StatusCode::ACCEPTED, UserResult::new(user, &caller.client)))
}

/// Takes the user out of the caller's application; their sessions that began there end.
#[utoipa::path(
    delete, path = "/cis/v1/users/{user_id}/apps", tag = "users", operation_id = "removeUserFromApp",
    params(("user_id" = String, Path)),
    responses(
        (status = 204, description = "The user is none of the application any more"),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn remove_from_app(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
) -> Result<StatusCode, Refusal> {
    let app_id = &caller.client.app_id;
    let changed = issuer.change_user(&user_id, |user| match user.apps.remove(app_id) {
        Some(_) => Ok(()),
        None => Err(Refusal::NO_USER),
    });
    let user = changed.await?.ok_or(Refusal::NO_USER)?;
    issuer.end_sessions(&user_id, |session| user.apps.is_empty() || session.app_id.as_ref() == Some(app_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the user from the tenant. For management clients.
#[utoipa::path(
    delete, path = "/cis/v1/manage/users/{user_id}", tag = "users", operation_id = "deleteUser",
    params(("user_id" = String, Path)),
    responses(
        (status = 204, description = "The user is gone"),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 403, description = "The caller is no management client", body = Refused),
        (status = 404, description = "There is no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(in crate::issuer) async fn delete(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
) -> Result<StatusCode, Refusal> {
    if !caller.client.is_management {
        return Err(Refusal::Numbered(StatusCode::FORBIDDEN, "Forbidden"));
    }
    if !issuer.remove_user(&user_id).await? {
        return Err(Refusal::NO_USER);
    }
    issuer.end_sessions(&user_id, |_| true).await?;
    Ok(StatusCode::NO_CONTENT)
}
