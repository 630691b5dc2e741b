//! The users, by ID and by address, and the calls that make and read them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::{Body, Refusal, Segment};
use super::tenant::fresh_id;
use super::{DeclaredUser, Inner, records};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::store;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) user_id: String,
    pub(super) status: Status,
    pub(super) email: Email,
    #[serde(default)]
    pub(super) profile: Profile,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) last_auth: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    /// May sign in, and has.
    Active,
    /// May not sign in.
    Disabled,
    /// May sign in, and has not yet.
    Pending,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Email {
    pub(super) value: EmailAddress,
    pub(super) email_verified: bool,
    pub(super) verified_at: Option<Timestamp>,
}

/// What a user may have beside an address; kept and given back as it came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Profile {
    pub(super) name: Name,
    pub(super) username: Option<String>,
    pub(super) phone_number: Option<String>,
    pub(super) picture: Option<String>,
    pub(super) language: Option<String>,
    pub(super) external_user_id: Option<String>,
    pub(super) external_account_id: Option<String>,
    pub(super) custom_data: Option<Map<String, Value>>,
    pub(super) custom_app_data: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) middle_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_name: Option<String>,
}

impl Name {
    /// The last word is the last name: Mosaic has no single field for a whole name.
    fn from_whole(whole: &str) -> Self {
        let (first, last) = match whole.trim().rsplit_once(' ') {
            Some((first, last)) => (first.trim_end(), Some(last.to_owned())),
            None => (whole.trim(), None),
        };
        Self { first_name: Some(first.to_owned()), last_name: last, ..Self::default() }
    }
}

impl User {
    fn new(email: EmailAddress, status: Status, profile: Profile, now: Timestamp) -> Self {
        Self {
            user_id: fresh_id(),
            status,
            email: Email { value: email, email_verified: false, verified_at: None },
            profile,
            groups: Vec::new(),
            roles: Vec::new(),
            created_at: now,
            updated_at: now,
            last_auth: None,
        }
    }

    /// The user as Mosaic's API shows one.
    fn shown(&self, app_name: &str) -> Value {
        let phone = self.profile.phone_number.as_ref();
        let all = json!({
            "user_id": self.user_id,
            "status": self.status,
            "email": {
                "value": self.email.value,
                "email_verified": self.email.email_verified,
                "verified_at": self.email.verified_at.map(Timestamp::unix_millis),
            },
            "phone_number": phone.map(|value| json!({ "value": value, "phone_number_verified": false })),
            "name": self.profile.name,
            "username": self.profile.username,
            "picture": self.profile.picture,
            "language": self.profile.language,
            "external_user_id": self.profile.external_user_id,
            "external_account_id": self.profile.external_account_id,
            "custom_data": self.profile.custom_data,
            "custom_app_data": self.profile.custom_app_data,
            "groupIds": self.groups,
            "app_name": app_name,
            "created_at": self.created_at.unix_millis(),
            "updated_at": self.updated_at.unix_millis(),
            "last_auth": self.last_auth.map(|moment| moment.to_string()),
        });
        let Value::Object(members) = all else { return Value::Null };
        members.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

/// Brings a declared user up to date: name, groups and roles of the file win.
pub(super) async fn declare(issuer: &Inner, declared: &DeclaredUser) -> Result<(), store::Error> {
    let now = issuer.clock.now();
    loop {
        if let Some(mut user) = issuer.user_by_email(&declared.email).await? {
            apply(declared, &mut user);
            user.updated_at = now;
            return issuer.save_user(&user).await;
        }
        let mut user = User::new(declared.email.clone(), Status::Active, Profile::default(), now);
        apply(declared, &mut user);
        if issuer.add_user(&user).await? {
            return Ok(());
        }
        // Another instance was first: its record is there now.
    }
}

fn apply(declared: &DeclaredUser, user: &mut User) {
    if let Some(name) = &declared.name {
        user.profile.name = Name::from_whole(name);
    }
    user.groups.clone_from(&declared.groups);
    user.roles.clone_from(&declared.roles);
}

fn user_key(user_id: &str) -> String {
    format!("issuer/user/{user_id}")
}

fn email_key(address: &EmailAddress) -> String {
    format!("issuer/email/{address}")
}

impl Inner {
    pub(super) async fn user(&self, user_id: &str) -> Result<Option<User>, store::Error> {
        records::load(self.store.as_ref(), &user_key(user_id)).await
    }

    pub(super) async fn user_by_email(&self, address: &EmailAddress) -> Result<Option<User>, store::Error> {
        match records::load::<String>(self.store.as_ref(), &email_key(address)).await? {
            Some(user_id) => self.user(&user_id).await,
            None => Ok(None),
        }
    }

    pub(super) async fn save_user(&self, user: &User) -> Result<(), store::Error> {
        records::save(self.store.as_ref(), &user_key(&user.user_id), user, Timestamp::NEVER).await
    }

    /// Adds the user unless the address is taken; says whether it was free.
    async fn add_user(&self, user: &User) -> Result<bool, store::Error> {
        // The record comes first, so an address never leads to a user that is not there.
        self.save_user(user).await?;
        let address = email_key(&user.email.value);
        let first = records::claim(self.store.as_ref(), &address, &user.user_id, Timestamp::NEVER).await?;
        if !first {
            self.store.remove(&user_key(&user.user_id)).await?;
        }
        Ok(first)
    }

    /// Notes a sign-in by mail: it proves the address.
    pub(super) async fn note_sign_in(&self, user: &mut User) -> Result<(), store::Error> {
        let now = self.clock.now();
        user.status = Status::Active;
        user.email.email_verified = true;
        user.email.verified_at.get_or_insert(now);
        user.last_auth = Some(now);
        self.save_user(user).await
    }
}

#[derive(Deserialize)]
pub(super) struct NewUser {
    email: Option<String>,
    name: Option<Name>,
    username: Option<String>,
    phone_number: Option<String>,
    picture: Option<String>,
    language: Option<String>,
    external_user_id: Option<String>,
    external_account_id: Option<String>,
    custom_data: Option<Map<String, Value>>,
    custom_app_data: Option<Map<String, Value>>,
}

/// `POST /cis/v1/users`
pub(super) async fn create(
    State(issuer): State<Arc<Inner>>,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let Some(email) = new.email.as_deref() else { return Err(Refusal::field("email should not be empty")) };
    let email = EmailAddress::parse(email).map_err(|_| Refusal::field("email must be an email"))?;
    let profile = Profile {
        name: new.name.unwrap_or_default(),
        username: new.username,
        phone_number: new.phone_number,
        picture: new.picture,
        language: new.language,
        external_user_id: new.external_user_id,
        external_account_id: new.external_account_id,
        custom_data: new.custom_data,
        custom_app_data: new.custom_app_data,
    };
    let user = User::new(email, Status::Pending, profile, issuer.clock.now());
    if !issuer.add_user(&user).await? {
        return Err(Refusal::Conflict("User already exists", "user_already_exists"));
    }
    Ok((StatusCode::CREATED, Json(json!({ "result": user.shown(&issuer.settings.app_name) }))))
}

/// `GET /cis/v1/users/{user_id}`
pub(super) async fn by_id(State(issuer): State<Arc<Inner>>, Segment(user_id): Segment) -> Result<Json<Value>, Refusal> {
    let user = issuer.user(&user_id).await?.ok_or(Refusal::NO_USER)?;
    Ok(Json(json!({ "result": user.shown(&issuer.settings.app_name) })))
}

/// `GET /cis/v1/users/email/{email}`
pub(super) async fn by_email(
    State(issuer): State<Arc<Inner>>,
    Segment(email): Segment,
) -> Result<Json<Value>, Refusal> {
    let email = EmailAddress::parse(&email).map_err(|_| Refusal::NO_USER)?;
    let user = issuer.user_by_email(&email).await?.ok_or(Refusal::NO_USER)?;
    Ok(Json(json!({ "result": user.shown(&issuer.settings.app_name) })))
}
