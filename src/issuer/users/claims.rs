//! What an ID token says about a user when a caller asks for it.

use serde_json::{Map, Value, json};

use super::{Address, User};
use crate::issuer::client::Client;

impl User {
    /// A claim that appears on request only; `None` when it is unknown or the user has no such thing.
    pub(in crate::issuer) fn claim(&self, name: &str, detail: &Value, client: &Client) -> Option<Value> {
        let text = |value: &Option<String>| value.as_ref().map(|value| json!(value));
        let (person, association) = (&self.person, self.apps.get(&client.app_id));
        match name {
            "groups" => Some(json!(self.group_names())),
            "roles" | "role_values" => Some(json!(self.roles)),
            "permissions" => Some(json!([])),
            "fname" => text(&person.name.first_name),
            "mname" => text(&person.name.middle_name),
            "lname" => text(&person.name.last_name),
            "username" => text(&self.username),
            "birthday" => text(&person.birthday),
            "picture" => text(&person.picture),
            "language" => text(&person.language),
            "external_user_id" => text(&self.external_user_id),
            "external_account_id" => association.and_then(|association| text(&association.external_account_id)),
            "app_name" => Some(json!(client.app_name)),
            "created_at" => Some(json!(self.created_at.unix_millis())),
            "last_auth" => self.last_auth.map(|moment| json!(moment.unix_millis())),
            "custom_data" => selected(self.custom_data.as_ref(), detail),
            "custom_app_data" => {
                selected(association.and_then(|association| association.custom_app_data.as_ref()), detail)
            }
            _ => self.reach_claim(name).or_else(|| person.address.as_ref().and_then(|at| address_claim(name, at))),
        }
    }

    /// Claims about addresses and numbers that reach the user.
    fn reach_claim(&self, name: &str) -> Option<Value> {
        let (email, phone) = (self.email.as_ref(), self.phone.as_ref());
        match name {
            "email" => email.map(|email| json!(email.value)),
            "email_verified" => email.map(|email| json!(email.email_verified)),
            "phone_number" => phone.map(|phone| json!(phone.value)),
            "phone_number_verified" => phone.map(|phone| json!(phone.phone_number_verified)),
            "secondary_emails" => Some(self.secondary_emails.iter().map(|email| json!(email.value)).collect()),
            "secondary_phone_numbers" => Some(self.secondary_phones.iter().map(|phone| json!(phone.value)).collect()),
            _ => None,
        }
    }
}

fn address_claim(name: &str, address: &Address) -> Option<Value> {
    match name {
        "address" => Some(json!(address)),
        "address_type" => address.kind.map(|kind| json!(kind)),
        "street_address" => address.street_address.as_ref().map(|street| json!(street)),
        "city" => address.city.as_ref().map(|city| json!(city)),
        "country" => address.country.as_ref().map(|country| json!(country)),
        _ => None,
    }
}

/// Custom data whole, or only the members that `{"fields": [...]}` names.
fn selected(data: Option<&Map<String, Value>>, detail: &Value) -> Option<Value> {
    let data = data?;
    let Some(fields) = detail.get("fields").and_then(Value::as_array) else { return Some(json!(data)) };
    let wanted = |name: &String| fields.iter().any(|field| field.as_str() == Some(name));
    Some(data.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect())
}
