//! The built-in service that speaks Mosaic's API.

use serde::{Deserialize, Serialize};

use crate::identity::EmailAddress;

/// `[issuer]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Mail lands on a page instead of in a mailbox; for development on this machine only.
    pub mailbox: bool,
    /// Users that exist from the start.
    pub user: Vec<DeclaredUser>,
}

/// `[[issuer.user]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUser {
    /// The address that links are mailed to.
    pub email: EmailAddress,
    /// The name to show.
    #[serde(default)]
    pub name: Option<String>,
    /// Groups that rules and headers name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Roles that rules and headers name.
    #[serde(default)]
    pub roles: Vec<String>,
}
