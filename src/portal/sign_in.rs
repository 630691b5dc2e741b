//! Asking for a magic link.

use serde::{Deserialize, Serialize};

use crate::identity::AddressRule;
use crate::setting::Span;

/// `[sign_in]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who may sign in; empty leaves it to the users that Mosaic or the issuer knows.
    pub allow: Vec<AddressRule>,
    /// How long a link works.
    pub link_lifetime: Span,
    /// Links that one mailbox may be sent in an hour.
    pub links_per_mailbox: u32,
    /// The pause between two links to one mailbox.
    pub resend_pause: Span,
    /// Links that one client address may ask for in ten minutes.
    pub links_per_peer: u32,
    /// Links that may be asked for in a minute, by everybody together.
    pub links_in_all: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            link_lifetime: Span::minutes(10),
            links_per_mailbox: 5,
            resend_pause: Span::seconds(30),
            links_per_peer: 20,
            links_in_all: 600,
        }
    }
}

/// `[sign_up]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignUp {
    /// Whose account is made when they first ask for a link; empty for nobody.
    pub allow: Vec<AddressRule>,
}
