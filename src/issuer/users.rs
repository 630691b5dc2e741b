//! The users of the tenant: their records, who sees them, and what the configuration declares of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::api::Refusal;
use super::client::Client;
use super::phone::PhoneNumber;
use super::tenant::fresh_id;
use super::{DeclaredUser, Inner};
use crate::clock::Timestamp;
use crate::identity::EmailAddress;
use crate::store;

pub(super) mod calls;
mod claims;
mod details;
mod directory;
mod old;
mod shown;

pub(super) use directory::Unique;
pub(super) use shown::ShownUser;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) user_id: String,
    pub(super) status: Status,
    pub(super) status_changed_at: Option<Timestamp>,
    pub(super) email: Option<Email>,
    pub(super) secondary_emails: Vec<Email>,
    pub(super) phone: Option<Phone>,
    pub(super) secondary_phones: Vec<Phone>,
    pub(super) username: Option<String>,
    pub(super) external_user_id: Option<String>,
    pub(super) person: Person,
    pub(super) custom_data: Option<Map<String, Value>>,
    pub(super) groups: Vec<Membership>,
    pub(super) roles: Vec<String>,
    /// The applications that the user belongs to, by `app_id`.
    pub(super) apps: BTreeMap<String, Association>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) last_auth: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) enum Status {
    /// May sign in, and has.
    Active,
    /// May not sign in.
    Disabled,
    /// May sign in, and has not yet.
    Pending,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Email {
    pub(super) value: EmailAddress,
    pub(super) email_verified: bool,
    pub(super) verified_at: Option<Timestamp>,
}

impl Email {
    pub(super) const fn unproven(value: EmailAddress) -> Self {
        Self { value, email_verified: false, verified_at: None }
    }

    /// Somebody has shown to receive mail there.
    pub(super) fn prove(&mut self, now: Timestamp) {
        self.email_verified = true;
        self.verified_at.get_or_insert(now);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Phone {
    pub(super) value: PhoneNumber,
    pub(super) phone_number_verified: bool,
    pub(super) verified_at: Option<Timestamp>,
}

impl Phone {
    pub(super) const fn unproven(value: PhoneNumber) -> Self {
        Self { value, phone_number_verified: false, verified_at: None }
    }

    /// Somebody has shown to receive texts there.
    pub(super) fn prove(&mut self, now: Timestamp) {
        self.phone_number_verified = true;
        self.verified_at.get_or_insert(now);
    }
}

/// What a user may have that leads to nobody; kept and given back as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) name: Name,
    pub(super) address: Option<Address>,
    pub(super) birthday: Option<String>,
    pub(super) picture: Option<String>,
    pub(super) language: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 30)]
    pub(super) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 30)]
    pub(super) first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 30)]
    pub(super) middle_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 30)]
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

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) street_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) postal_code: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<AddressKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) enum AddressKind {
    Home,
    Work,
    Other,
}

/// What one application keeps about a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Association {
    pub(super) external_account_id: Option<String>,
    pub(super) custom_app_data: Option<Map<String, Value>>,
}

/// A group that a user is in. The name is the group's own, kept here so that a token needs no second look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Membership {
    pub(super) id: String,
    pub(super) name: String,
}

impl User {
    /// A user without anything, of one application.
    pub(super) fn new(app_id: &str, status: Status, now: Timestamp) -> Self {
        Self {
            user_id: fresh_id(),
            status,
            status_changed_at: None,
            email: None,
            secondary_emails: Vec::new(),
            phone: None,
            secondary_phones: Vec::new(),
            username: None,
            external_user_id: None,
            person: Person::default(),
            custom_data: None,
            groups: Vec::new(),
            roles: Vec::new(),
            apps: BTreeMap::from([(app_id.to_owned(), Association::default())]),
            created_at: now,
            updated_at: now,
            last_auth: None,
        }
    }

    pub(super) fn is_of(&self, app_id: &str) -> bool {
        self.apps.contains_key(app_id)
    }

    /// A client acts on the users of its application; a management client on those of the whole tenant.
    pub(super) fn is_visible_to(&self, client: &Client) -> bool {
        client.is_management || self.is_of(&client.app_id)
    }

    pub(super) fn group_names(&self) -> Vec<&str> {
        self.groups.iter().map(|group| group.name.as_str()).collect()
    }

    pub(super) const fn is_active(&self) -> bool {
        match self.status {
            Status::Active | Status::Pending => true,
            Status::Disabled => false,
        }
    }

    pub(super) fn set_status(&mut self, status: Status, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.status_changed_at = Some(now);
        }
    }
}

/// What a sign-in has shown about the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Proof {
    /// What the version before wrote of every link: that it went to the primary address.
    #[default]
    Mailbox,
    /// Who signs in receives mail at this address.
    Email(EmailAddress),
    /// Who signs in receives texts at this number.
    Phone(PhoneNumber),
    /// The caller brought link or code to the user itself.
    Nothing,
}

impl Proof {
    fn note(&self, user: &mut User, now: Timestamp) {
        let is_shown = |email: &Email| match self {
            Self::Mailbox => true,
            Self::Email(address) => *address == email.value,
            Self::Phone(_) | Self::Nothing => false,
        };
        if let Some(email) = user.email.as_mut().filter(|email| is_shown(email)) {
            email.prove(now);
        }
        if let (Self::Phone(number), Some(phone)) = (self, &mut user.phone)
            && *number == phone.value
        {
            phone.prove(now);
        }
    }
}

impl Inner {
    /// Notes a sign-in and what it has shown; gives the user as they are now, if they still are.
    pub(super) async fn note_sign_in(&self, user_id: &str, proof: &Proof) -> Result<Option<User>, Refusal> {
        let now = self.clock.now();
        self.change_user(user_id, |user| {
            // A user who was disabled a moment ago stays so.
            if user.status == Status::Pending {
                user.set_status(Status::Active, now);
            }
            proof.note(user, now);
            user.last_auth = Some(now);
            Ok(())
        })
        .await
    }
}

/// Brings a declared user up to date: name, groups and roles of the file win.
pub(super) async fn declare(issuer: &Inner, declared: &DeclaredUser) -> Result<(), store::Error> {
    let app_id = &issuer.tenant.default_application.id;
    let now = issuer.clock.now();
    let mut groups = Vec::new();
    for name in &declared.groups {
        groups.push(issuer.declared_group(name).await?);
    }
    let apply = |user: &mut User| {
        if let Some(name) = &declared.name {
            user.person.name = Name::from_whole(name);
        }
        user.groups.clone_from(&groups);
        user.roles.clone_from(&declared.roles);
        user.apps.entry(app_id.clone()).or_default();
    };
    loop {
        if let Some(user) = issuer.find_user(&Unique::Email(declared.email.clone())).await? {
            let changed = issuer.try_change(&user.user_id, |user| {
                apply(user);
                Ok(())
            });
            // Where another instance has removed the user, they are made anew.
            if !matches!(changed.await?, Ok(None)) {
                return Ok(());
            }
        }
        let mut user = User::new(app_id, Status::Active, now);
        user.email = Some(Email::unproven(declared.email.clone()));
        apply(&mut user);
        if issuer.add_user(&user).await?.is_ok() {
            return Ok(());
        }
        // Another instance was first: its record is there now.
    }
}
