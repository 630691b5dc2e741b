//! Who a request is from, by whatever it shows: the cookie of a session.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::identity::{Identity, Subject};
use crate::session::{Live, Place, Sessions};
use crate::store;

/// Somebody who is signed in, for one request. Clones are the same visit.
#[derive(Clone)]
pub enum Visitor {
    /// By a session's cookie.
    Session(Arc<Live>),
    /// By something else that names them.
    Named(Arc<Named>),
}

/// Somebody who is known without a session.
pub struct Named {
    /// Who it is.
    pub identity: Identity,
    /// When they last proved it.
    pub signed_in_at: Timestamp,
    /// The identity headers for the upstream, ready-made.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Visitor {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Session(live) => &live.session().identity,
            Self::Named(named) => &named.identity,
        }
    }

    /// The user's lasting name.
    pub fn subject(&self) -> &Subject {
        &self.identity().subject
    }

    /// When they last proved who they are.
    pub fn signed_in_at(&self) -> Timestamp {
        match self {
            Self::Session(live) => live.session().signed_in_at,
            Self::Named(named) => named.signed_in_at,
        }
    }

    /// The identity headers for the upstream, ready-made.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        match self {
            Self::Session(live) => live.headers(),
            Self::Named(named) => &named.headers,
        }
    }

    /// The session, where there is one.
    pub const fn session(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Session(live) => Some(live),
            Self::Named(_) => None,
        }
    }
}

/// Everything that a request can show.
pub struct Credentials {
    sessions: Arc<Sessions>,
}

impl Credentials {
    /// The cookies of `sessions`.
    pub const fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }

    /// Whom a request's header fields name.
    ///
    /// # Errors
    /// When the store cannot answer, which is never "signed out".
    pub async fn find(&self, headers: &HeaderMap, place: Place<'_>) -> Result<Option<Visitor>, store::Error> {
        Ok(self.sessions.find(headers, place).await?.live().map(Visitor::Session))
    }

    /// A visitor who was found before as they are now; `None` once they are signed in no more. Looking is no use of it.
    ///
    /// # Errors
    /// When the store cannot answer, and the session is not over by what was known of it.
    pub async fn again(&self, visitor: &Visitor) -> Result<Option<Visitor>, store::Error> {
        match visitor {
            Visitor::Session(live) => Ok(self.sessions.again(live).await?.map(Visitor::Session)),
            Visitor::Named(_) => Ok(Some(visitor.clone())),
        }
    }
}
