//! What visitors see of their own: where they are signed in, their tokens, and a terminal that they let in.

use serde::Serialize;

use crate::clock::Timestamp;

/// Where a visitor is signed in, and what they have made for themselves.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Ties the forms to this browser.
    pub csrf: String,
    /// Lets the form make something once.
    pub once: String,
    /// What the visitor is known by: the address, or else a name.
    pub address: String,
    /// Their sessions, this browser's first.
    pub sign_ins: Vec<SignInRow>,
    /// Whether there are personal tokens at all.
    pub has_tokens: bool,
    /// The personal tokens that there are.
    pub tokens: Vec<TokenRow>,
    /// The routes that a new one can be for.
    pub routes: Vec<String>,
    /// How long it can be good for, in minutes.
    pub choices: Vec<u64>,
    /// Whether the visitor signed in recently enough to make one.
    pub may_make: bool,
    /// The one that was just made.
    pub made: Option<MadeToken>,
    /// Why none was made.
    pub problem: Option<TokenProblem>,
    /// The name as it was typed.
    pub name: String,
}

/// A session in the list.
#[derive(Clone, Debug, Serialize)]
pub struct SignInRow {
    /// What forms name it by; nobody can use it by that name.
    pub key: String,
    /// Whether it is the one that looks at the page.
    pub is_this: bool,
    /// Where and when it began; nothing of one that an earlier version began.
    pub began: Option<Began>,
    /// When it was last used.
    pub used_at: Timestamp,
    /// How many streams are open under it.
    pub streams: usize,
}

/// Where and when a session began.
#[derive(Clone, Debug, Serialize)]
pub struct Began {
    /// When.
    pub at: Timestamp,
    /// The browser, or what another program calls itself; empty where that is not known.
    pub browser: String,
    /// The system, where it is known.
    pub system: Option<String>,
    /// The address that it was from.
    pub client: String,
}

/// A personal token in the list.
#[derive(Clone, Debug, Serialize)]
pub struct TokenRow {
    /// Its short public name.
    pub id: String,
    /// What the visitor calls it.
    pub name: String,
    /// What it is good for; everything that takes tokens where it is empty.
    pub routes: Vec<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A new personal token, on the one page that shows it.
#[derive(Clone, Serialize)]
pub struct MadeToken {
    /// What the visitor calls it.
    pub name: String,
    /// The token itself.
    pub text: String,
}

/// Without the token.
impl std::fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why no token was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenProblem {
    /// There is no name, or it is too long.
    Name,
    /// What was chosen is not offered.
    Bounds,
    /// There are as many as may be.
    TooMany,
}

/// Where a visitor lets a terminal in.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// Ties the form to this browser.
    pub csrf: String,
    /// What the visitor is known by: the address, or else a name.
    pub address: String,
    /// How far it is.
    pub stage: DeviceStage,
}

/// How far it is with a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeviceStage {
    /// The code is asked for.
    Enter,
    /// No terminal waits with the code that was typed.
    Wrong,
    /// This terminal does.
    Confirm(DeviceRequest),
    /// It was let in.
    Allowed,
    /// It was turned down.
    Denied,
}

/// What a terminal asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRequest {
    /// The code, as it was typed.
    pub code: String,
    /// The name of the token.
    pub name: String,
    /// The routes that the token shall be good for; none for all.
    pub routes: Vec<String>,
    /// How long it shall be good for.
    pub minutes: u64,
    /// The address that the terminal asks from.
    pub client: String,
    /// What it calls itself.
    pub agent: String,
    /// Whether all the routes are there and take tokens.
    pub are_routes_known: bool,
}
