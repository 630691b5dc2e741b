//! Host and longest path prefix decide the route.

use serde::{Deserialize, Serialize};

use crate::identity::AddressRule;
use crate::setting::{self, Span};

/// `[[route]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The host it serves; the host of `public_url` where there is none.
    #[serde(default)]
    pub host: Option<String>,
    /// The path it serves, with everything below it.
    #[serde(default)]
    pub path: Option<String>,
    /// The application: a URL, or `"demo"` for the one built in.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Who may pass.
    #[serde(default)]
    pub access: AccessSetting,
    /// Says that a public route without a path, or with `/`, is meant: nothing on the host then needs a sign-in.
    #[serde(default)]
    pub whole_site: bool,
    /// Which of the signed-in visitors may pass; every one of them where there is none.
    #[serde(default, deserialize_with = "setting::optional_table")]
    pub allow: Option<Allow>,
    /// The time for the connection to the application to be made.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// The time for the application to begin, or to go on with, its answer.
    #[serde(default = "response_timeout")]
    pub response_timeout: Span,
}

const fn connect_timeout() -> Span {
    Span::seconds(5)
}

const fn response_timeout() -> Span {
    Span::seconds(60)
}

/// `route.access`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessSetting {
    /// Everybody, and nobody is told who they are.
    Public,
    /// Everybody, with their identity if they are signed in.
    Optional,
    /// Those who are signed in.
    #[default]
    SignedIn,
}

/// `route.allow`: a visitor who is named by any of the lists may pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Addresses like `"ada@example.com"`, or whole domains like `"@example.com"`.
    pub addresses: Vec<AddressRule>,
    /// Domains like `"example.com"`.
    pub domains: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of roles.
    pub roles: Vec<String>,
}
