//! Claims beyond the usual ones: which of them gateway.toml names, and what a visitor's say.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Identity;

/// The claims that Mosaic documents for ID tokens; no other can be asked for.
const KNOWN: [&str; 30] = [
    "address",
    "address_type",
    "app_name",
    "birthday",
    "city",
    "country",
    "created_at",
    "custom_app_data",
    "custom_data",
    "custom_group_data",
    "email",
    "email_verified",
    "external_account_id",
    "external_user_id",
    "fname",
    "groups",
    "language",
    "last_auth",
    "lname",
    "mname",
    "organization",
    "permissions",
    "phone_number",
    "phone_number_verified",
    "picture",
    "role_values",
    "roles",
    "secondary_emails",
    "street_address",
    "username",
];

/// Names a claim, or a member of one: `organization`, `custom_data.department`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimPath(String);

impl ClaimPath {
    /// The claim.
    pub fn root(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The first member inside the claim, where the path goes into it.
    pub fn field(&self) -> Option<&str> {
        self.0.split('.').nth(1)
    }

    fn find<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.0.split('.').skip(1).try_fold(root, |value, name| value.get(name))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ClaimPath> for String {
    fn from(path: ClaimPath) -> Self {
        path.0
    }
}

impl TryFrom<String> for ClaimPath {
    type Error = BadClaimPath;

    fn try_from(text: String) -> Result<Self, BadClaimPath> {
        let is_known = KNOWN.contains(&text.split('.').next().unwrap_or_default());
        let is_plain = text.split('.').all(|name| !name.is_empty() && !name.chars().any(char::is_control));
        if is_known && is_plain && text.len() <= 255 { Ok(Self(text)) } else { Err(BadClaimPath) }
    }
}

/// Not a claim that Mosaic gives, nor a member of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a claim of Mosaic's ID tokens, like \"organization\" or \"custom_data.department\"")]
pub struct BadClaimPath;

/// What a claim says, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// One value.
    One(String),
    /// A list of values.
    Many(Vec<String>),
}

impl Claimed {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Array(entries) => entries.iter().map(scalar).collect::<Option<Vec<_>>>().map(Self::Many),
            value => scalar(value).map(Self::One),
        }
    }

    /// Whether it is `text`, or has it in its list.
    pub fn says(&self, text: &str) -> bool {
        match self {
            Self::One(value) => value == text,
            Self::Many(values) => values.iter().any(|value| value == text),
        }
    }
}

/// Text, numbers and truth values; nothing with members has one reading as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Identity {
    /// What the visitor's claim at `path` says; `None` where there is none, or where it is no text.
    pub fn claimed(&self, path: &ClaimPath) -> Option<Claimed> {
        let one = |text: Option<&str>| text.map(|text| Claimed::One(text.to_owned()));
        let many = |list: &[String]| Some(Claimed::Many(list.to_vec()));
        match path.0.as_str() {
            "email" => one(self.email.as_ref().map(super::EmailAddress::as_str)),
            "email_verified" => Some(Claimed::One(self.email_verified.to_string())),
            "username" => one(self.username.as_deref()),
            "phone_number" => one(self.phone_number.as_deref()),
            "organization" => one(self.organization.as_deref()),
            "groups" => many(&self.groups),
            "roles" | "role_values" => many(&self.roles),
            "permissions" => many(&self.permissions),
            _ => path.find(self.claims.get(path.root())?).and_then(Claimed::of),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::Subject;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::try_from(text.to_owned()).expect("the path is well formed")
    }

    #[test]
    fn paths_lead_into_the_claims_that_mosaic_has() {
        let custom = path("custom_data.office.city");
        assert_eq!((custom.root(), custom.field()), ("custom_data", Some("office")));
        assert_eq!((path("organization").root(), path("organization").field()), ("organization", None));
        for wrong in ["", "department", "custom_data.", ".custom_data", "custom_data..x", "custom_data.a\nb", "sub"] {
            assert_eq!(ClaimPath::try_from(wrong.to_owned()), Err(BadClaimPath), "{wrong:?}");
        }
    }

    #[test]
    fn claims_are_read_as_text_or_not_at_all() {
        let mut ada = Identity::new(Subject::try_from("u1".to_owned()).unwrap());
        ada.groups = vec!["ops".to_owned()];
        ada.organization = Some("org-1".to_owned());
        let data = json!({"department": "R&D", "level": 3, "lead": true, "sites": ["a", "b"], "office": {"city": "Bonn"},
            "mixed": ["a", {}], "nothing": null});
        ada.claims.insert("custom_data".to_owned(), data);
        let check = |name: &str, expected: Option<&str>| {
            let found = ada.claimed(&path(name)).map(|claimed| match claimed {
                Claimed::One(text) => text,
                Claimed::Many(texts) => format!("[{}]", texts.join(" ")),
            });
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("custom_data.department", Some("R&D"));
        check("custom_data.level", Some("3"));
        check("custom_data.lead", Some("true"));
        check("custom_data.sites", Some("[a b]"));
        check("custom_data.office.city", Some("Bonn"));
        check("custom_data.office", None);
        check("custom_data.mixed", None);
        check("custom_data.nothing", None);
        check("custom_data.absent", None);
        check("custom_app_data.department", None);
        check("groups", Some("[ops]"));
        check("organization", Some("org-1"));
        check("phone_number", None);
        assert!(ada.claimed(&path("custom_data.sites")).unwrap().says("b"));
        assert!(!ada.claimed(&path("custom_data.department")).unwrap().says("R"));
    }
}
