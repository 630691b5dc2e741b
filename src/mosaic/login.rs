//! What logins and sends say beside their proof: the visitor's device, the claims wanted, and what the operator set.

use std::net::IpAddr;

use reqwest::RequestBuilder;
use reqwest::header::ACCEPT_LANGUAGE;
use serde_json::{Map, Value, json};

use crate::identity::ClaimPath;

/// User agents are strangers' text; more of one than this is not passed on.
const USER_AGENT_LIMIT: usize = 512;
/// The longest `device_id` (Mosaic's limit).
const DEVICE_ID_LIMIT: usize = 80;

/// The visitor's device, as Mosaic is told of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device<'a> {
    /// The browser's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The address that it comes from.
    pub address: Option<IpAddr>,
    /// A name of the device that stays the same, where the operator wants Mosaic to have one.
    pub id: Option<&'a str>,
    /// The tag of the language that its user reads.
    pub language: Option<&'a str>,
}

impl Device<'_> {
    /// `client_attributes` of a call; `None` where nothing is known.
    pub(super) fn attributes(&self) -> Option<Value> {
        let mut attributes = Map::new();
        if let Some(text) = self.user_agent {
            attributes.insert("user_agent".to_owned(), json!(&text[..text.floor_char_boundary(USER_AGENT_LIMIT)]));
        }
        if let Some(address) = self.address {
            attributes.insert("ip_address".to_owned(), json!(address));
        }
        (!attributes.is_empty()).then_some(Value::Object(attributes))
    }

    /// Says in which language what is sent should be: the built-in issuer's mails are in it (RFC 9110 section 12.5.4).
    pub(super) fn ask(&self, request: RequestBuilder) -> RequestBuilder {
        match self.language {
            Some(tag) => request.header(ACCEPT_LANGUAGE, tag),
            None => request,
        }
    }

    /// `device_id` of a call, where it has the length that Mosaic takes.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.filter(|id| (1..=DEVICE_ID_LIMIT).contains(&id.len()))
    }
}

/// What every kind of login can say beside its proof.
#[derive(Clone, Copy, Debug, Default)]
pub struct Login<'a> {
    /// The device that signs in.
    pub device: Device<'a>,
    /// The organisation to sign in to.
    pub organization: Option<&'a str>,
    /// A session at Mosaic that this login is a further proof for.
    pub session_id: Option<&'a str>,
    /// What the send that belongs to it was answered with.
    pub request_id: Option<&'a str>,
}

/// How calls are worded: what the operator set for all of them.
#[derive(Clone, Debug, Default)]
pub struct Wording {
    /// The claims that every login asks for.
    pub claims: ClaimsRequest,
    /// The `aud` of the access tokens, where the tenant has a resource for the application.
    pub resource: Option<String>,
    /// The clients beside our own whose users' access tokens programs may show.
    pub bearer_clients: Vec<String>,
    /// The tenant, where tokens of another one must be refused.
    pub tenant_id: Option<String>,
    /// Names an address as `email`, as Mosaic did before there were other identifiers.
    pub legacy_email: bool,
    /// Has each send answered with an ID that its login gives back.
    pub request_ids: bool,
}

/// The claims to ask for: Mosaic promises none of them unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimsRequest {
    id_token: Map<String, Value>,
    extra: Vec<String>,
}

/// What every sign-in wants to know.
const USUAL: [&str; 8] = ["email", "email_verified", "groups", "roles", "role_values", "fname", "lname", "username"];
/// What an identity has a place for; of other claims it keeps what they say.
const TYPED: [&str; 3] = ["phone_number", "permissions", "organization"];

impl Default for ClaimsRequest {
    fn default() -> Self {
        Self::new([])
    }
}

impl ClaimsRequest {
    /// The usual claims, and those that `paths` lead into. Of custom data only the members that they name.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a ClaimPath>) -> Self {
        let mut id_token: Map<String, Value> = USUAL.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        let mut extra: Vec<String> = Vec::new();
        for path in paths {
            let root = path.root();
            if !USUAL.contains(&root) && !TYPED.contains(&root) && !extra.iter().any(|known| known == root) {
                extra.push(root.to_owned());
            }
            let is_custom = matches!(root, "custom_data" | "custom_app_data");
            match (id_token.get_mut(root), path.field().filter(|_| is_custom)) {
                (None, Some(field)) => drop(id_token.insert(root.to_owned(), json!({ "fields": [field] }))),
                (Some(Value::Object(asked)), Some(field)) => {
                    if let Some(Value::Array(fields)) = asked.get_mut("fields")
                        && !fields.contains(&json!(field))
                    {
                        fields.push(json!(field));
                    }
                }
                // The whole of it is asked for already.
                (Some(Value::Null), Some(_)) => {}
                _ => drop(id_token.insert(root.to_owned(), Value::Null)),
            }
        }
        Self { id_token, extra }
    }

    /// The claims that an identity keeps as they come.
    pub(super) fn extra(&self) -> &[String] {
        &self.extra
    }
}

impl Wording {
    /// `body` with what a login says beside its proof. A silent login takes part of it only.
    pub(super) fn login(&self, mut body: Value, login: &Login<'_>, is_silent: bool) -> Value {
        let mut claims = self.claims.id_token.clone();
        if login.organization.is_some() {
            claims.insert("organization".to_owned(), Value::Null);
        }
        body["claims"] = json!({ "id_token": claims });
        let mut say = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        say("resource", self.resource.as_ref().map(|resource| json!(resource)));
        say("org_id", login.organization.map(|organization| json!(organization)));
        say("client_attributes", login.device.attributes());
        if !is_silent {
            say("session_id", login.session_id.map(|id| json!(id)));
            say("device_id", login.device.id().map(|id| json!(id)));
            say("request_id", login.request_id.map(|id| json!(id)));
        }
        body
    }

    /// `body` with what a send says about the device and the answer that it wants.
    pub(super) fn send(&self, mut body: Value, device: &Device<'_>) -> Value {
        if let Some(attributes) = device.attributes() {
            body["client_attributes"] = attributes;
        }
        if let Some(id) = device.id() {
            body["device_id"] = json!(id);
        }
        if self.request_ids {
            body["generate_request_id"] = json!(true);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(paths: &[&str]) -> ClaimsRequest {
        let paths: Vec<_> = paths.iter().map(|path| ClaimPath::try_from((*path).to_owned()).unwrap()).collect();
        ClaimsRequest::new(&paths)
    }

    #[test]
    fn claims_are_asked_for_once_and_of_custom_data_what_is_needed() {
        let asked =
            request(&["custom_data.team", "custom_data.office.city", "custom_data.team", "organization", "groups"]);
        assert_eq!(asked.id_token["custom_data"], json!({"fields": ["team", "office"]}));
        assert_eq!(asked.id_token["organization"], Value::Null);
        assert_eq!(asked.extra(), ["custom_data"]);
        assert_eq!(asked.id_token.len(), USUAL.len() + 2);
        for paths in [["custom_data.team", "custom_data"], ["custom_data", "custom_data.team"]] {
            assert_eq!(request(&paths).id_token["custom_data"], Value::Null, "{paths:?}");
        }
        assert_eq!(request(&["picture", "birthday"]).extra(), ["picture", "birthday"]);
    }

    #[test]
    fn long_user_agents_are_cut_between_characters() {
        let long = "é".repeat(300) + "x";
        let device = Device { user_agent: Some(&long), ..Device::default() };
        assert_eq!(device.attributes().unwrap()["user_agent"].as_str().unwrap().len(), 512);
        assert!(Device::default().attributes().is_none());
    }

    #[test]
    fn a_device_is_named_in_80_characters_or_not_at_all() {
        for (length, is_named) in [(0, false), (1, true), (80, true), (81, false)] {
            let id = "x".repeat(length);
            assert_eq!(Device { id: Some(&id), ..Device::default() }.id().is_some(), is_named, "{length}");
        }
    }
}
