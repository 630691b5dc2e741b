//! A user as Mosaic's API shows one to an application.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Address, Email, Name, Phone, Status, User};
use crate::issuer::client::Client;

#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(in crate::issuer) struct ShownUser {
    user_id: String,
    status: Status,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    status_changed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<ShownEmail>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secondary_emails: Vec<ShownEmail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<ShownPhone>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secondary_phone_numbers: Vec<ShownPhone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birthday: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_account_id: Option<String>,
    /// The application that asks.
    app_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    custom_data: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    custom_app_data: Option<Map<String, Value>>,
    #[serde(rename = "groupIds")]
    group_ids: Vec<String>,
    /// Not Mosaic's: the names of the user's roles.
    roles: Vec<String>,
    /// Milliseconds since 1970.
    created_at: i64,
    /// Milliseconds since 1970.
    updated_at: i64,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    last_auth: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UserEmail)]
struct ShownEmail {
    value: String,
    email_verified: bool,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    verified_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UserPhoneNumber)]
struct ShownPhone {
    value: String,
    phone_number_verified: bool,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    verified_at: Option<String>,
}

impl From<&Email> for ShownEmail {
    fn from(email: &Email) -> Self {
        Self {
            value: email.value.to_string(),
            email_verified: email.email_verified,
            verified_at: email.verified_at.map(|moment| moment.to_string()),
        }
    }
}

impl From<&Phone> for ShownPhone {
    fn from(phone: &Phone) -> Self {
        Self {
            value: phone.value.to_string(),
            phone_number_verified: phone.phone_number_verified,
            verified_at: phone.verified_at.map(|moment| moment.to_string()),
        }
    }
}

impl User {
    /// The user as the client's application sees them.
    pub(in crate::issuer) fn shown(self, client: &Client) -> ShownUser {
        let association = self.apps.get(&client.app_id).cloned().unwrap_or_default();
        ShownUser {
            status: self.status,
            status_changed_at: self.status_changed_at.map(|moment| moment.to_string()),
            email: self.email.as_ref().map(Into::into),
            secondary_emails: self.secondary_emails.iter().map(Into::into).collect(),
            phone_number: self.phone.as_ref().map(Into::into),
            secondary_phone_numbers: self.secondary_phones.iter().map(Into::into).collect(),
            username: self.username,
            name: self.person.name,
            address: self.person.address,
            birthday: self.person.birthday,
            picture: self.person.picture,
            language: self.person.language,
            external_user_id: self.external_user_id,
            external_account_id: association.external_account_id,
            app_name: client.app_name.clone(),
            custom_data: self.custom_data,
            custom_app_data: association.custom_app_data,
            group_ids: self.groups.into_iter().map(|group| group.id).collect(),
            roles: self.roles,
            created_at: self.created_at.unix_millis(),
            updated_at: self.updated_at.unix_millis(),
            last_auth: self.last_auth.map(|moment| moment.to_string()),
            user_id: self.user_id,
        }
    }
}
