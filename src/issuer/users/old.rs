//! Users as the version before applications and groups wrote them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Association, Email, Membership, Name, Person, Phone, Status};
use crate::clock::Timestamp;
use crate::issuer::phone::PhoneNumber;

#[derive(Deserialize)]
pub(super) struct User {
    user_id: String,
    status: Status,
    email: Email,
    #[serde(default)]
    profile: Profile,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_auth: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Profile {
    name: Name,
    username: Option<String>,
    phone_number: Option<String>,
    picture: Option<String>,
    language: Option<String>,
    external_user_id: Option<String>,
    external_account_id: Option<String>,
    custom_data: Option<Map<String, Value>>,
    custom_app_data: Option<Map<String, Value>>,
}

impl User {
    /// The same user today: of the application that was the only one.
    pub(super) fn into_user(self, app_id: &str, groups: Vec<Membership>) -> super::User {
        let profile = self.profile;
        let association =
            Association { external_account_id: profile.external_account_id, custom_app_data: profile.custom_app_data };
        super::User {
            user_id: self.user_id,
            email: Some(self.email),
            phone: profile.phone_number.as_deref().and_then(PhoneNumber::parse).map(Phone::unproven),
            username: profile.username,
            external_user_id: profile.external_user_id,
            person: Person {
                name: profile.name,
                picture: profile.picture,
                language: profile.language,
                ..Person::default()
            },
            custom_data: profile.custom_data,
            groups,
            roles: self.roles,
            apps: [(app_id.to_owned(), association)].into(),
            updated_at: self.updated_at,
            last_auth: self.last_auth,
            ..super::User::new(app_id, self.status, self.created_at)
        }
    }
}
