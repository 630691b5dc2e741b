//! An identity as the headers that tell an application who the visitor is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `[identity_headers]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The set of names to start from.
    pub preset: Preset,
    /// Names of one's own in place of the preset's; `""` leaves one out.
    pub names: BTreeMap<Attribute, String>,
}

/// Sets of header names that applications know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `X-Forwarded-User`, `-Email`, `-Groups`, `-Roles`, `-Preferred-Username`.
    #[default]
    XForwarded,
    /// `Remote-User`, `-Email`, `-Name`, `-Groups`.
    RemoteUser,
    /// `X-Auth-Request-User`, `-Email`, `-Groups`, `-Preferred-Username`.
    XAuthRequest,
}

impl Config {
    /// The header that tells `attribute`: the operator's own name for it, or the preset's.
    pub fn name(&self, attribute: Attribute) -> Option<&str> {
        match self.names.get(&attribute) {
            Some(name) => Some(name.as_str()).filter(|name| !name.is_empty()),
            None => self.preset.name(attribute),
        }
    }
}

impl Preset {
    /// The header that tells `attribute` in this set.
    pub const fn name(self, attribute: Attribute) -> Option<&'static str> {
        use Attribute::{Email, Groups, Name, PreferredUsername, Roles, User};
        match (self, attribute) {
            (Self::XForwarded, User) => Some("X-Forwarded-User"),
            (Self::XForwarded, Email) => Some("X-Forwarded-Email"),
            (Self::XForwarded, PreferredUsername) => Some("X-Forwarded-Preferred-Username"),
            (Self::XForwarded, Groups) => Some("X-Forwarded-Groups"),
            (Self::XForwarded, Roles) => Some("X-Forwarded-Roles"),
            (Self::RemoteUser, User) => Some("Remote-User"),
            (Self::RemoteUser, Email) => Some("Remote-Email"),
            (Self::RemoteUser, Name) => Some("Remote-Name"),
            (Self::RemoteUser, Groups) => Some("Remote-Groups"),
            (Self::XAuthRequest, User) => Some("X-Auth-Request-User"),
            (Self::XAuthRequest, Email) => Some("X-Auth-Request-Email"),
            (Self::XAuthRequest, PreferredUsername) => Some("X-Auth-Request-Preferred-Username"),
            (Self::XAuthRequest, Groups) => Some("X-Auth-Request-Groups"),
            (Self::XForwarded, Name)
            | (Self::RemoteUser, PreferredUsername | Roles)
            | (Self::XAuthRequest, Name | Roles) => None,
        }
    }
}

/// What can be told about a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The subject; with the preset `remote-user` the address.
    User,
    /// The mail address.
    Email,
    /// The name to show.
    Name,
    /// The user name, or the address where there is none.
    PreferredUsername,
    /// Groups, joined by commas.
    Groups,
    /// Roles, joined by commas.
    Roles,
}

impl Attribute {
    /// Every one of them.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Email, Self::Name, Self::PreferredUsername, Self::Groups, Self::Roles];

    /// As gateway.toml spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Email => "email",
            Self::Name => "name",
            Self::PreferredUsername => "preferred_username",
            Self::Groups => "groups",
            Self::Roles => "roles",
        }
    }
}
