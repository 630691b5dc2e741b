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
