//! The pages of asking for access: what the visitor sees who asked, and the owner who answers.

use serde::Serialize;

use crate::clock::Timestamp;

/// The owners of a route were asked.
#[derive(Clone, Debug, Serialize)]
pub struct AskedForAccess {
    /// Whether one of them has said no, not long ago.
    pub refused: bool,
    /// The page that the visitor could not open.
    pub return_to: String,
}

/// An owner answers a request.
#[derive(Clone, Debug, Serialize)]
pub struct AccessRequest {
    /// Ties the form to this browser.
    pub csrf: String,
    /// What links name the request by.
    pub key: String,
    /// Who would like to pass.
    pub address: String,
    /// The name of the route.
    pub route: String,
    /// How far it is.
    pub state: AccessRequestState,
}

/// How far a request is.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccessRequestState {
    /// It waits for an answer.
    Open {
        /// When it was made.
        asked_at: Timestamp,
        /// What the link in the mail says, as forms name answers.
        chosen: Option<&'static str>,
    },
    /// Somebody said no.
    Refused {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// The visitor may pass.
    Granted {
        /// Who said so.
        by: String,
        /// When that ends; it does not by itself where there is nothing.
        until: Option<Timestamp>,
    },
}

/// The request that an owner's link names is no more.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AccessRequestGone {}
