//! Who a request is from, by whatever it shows: the cookie of a session or, where a route takes them, a token.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::{Clock, Timestamp};
use crate::identity::headers::Plan;
use crate::identity::{Identity, Subject};
use crate::mosaic::Mosaic;
use crate::personal_token::{self, PersonalTokens};
use crate::secret::Secret;
use crate::session::{Live, Place, Sessions};
use crate::store;
use tokio_util::task::TaskTracker;

mod access_token;
pub mod authorization;
mod personal;

use access_token::AccessTokens;
use authorization::Authorization;
use personal::Personal;

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
    /// What names them.
    pub by: By,
}

/// What names somebody who has no session.
pub enum By {
    /// An access token of Mosaic or of the built-in issuer.
    AccessToken(Secret<String>),
    /// A token that its user made for a program.
    PersonalToken(Secret<String>),
    /// Nothing: a decision about them is explained.
    Supposition,
}

impl Visitor {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Session(live) => live.identity(),
            Self::Named(named) => &named.identity,
        }
    }

    /// The user's lasting name.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Session(live) => live.subject(),
            Self::Named(named) => named.identity.subject.clone(),
        }
    }

    /// When they last proved who they are.
    pub fn signed_in_at(&self) -> Timestamp {
        match self {
            Self::Session(live) => live.signed_in_at(),
            Self::Named(named) => named.signed_in_at,
        }
    }

    /// The identity headers for the upstream, ready-made.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let (live, named) = match self {
            Self::Session(live) => (Some(live), None),
            Self::Named(named) => (None, Some(named)),
        };
        let named = named.into_iter().flat_map(|named| named.headers.iter().cloned());
        live.into_iter().flat_map(|live| live.headers()).chain(named)
    }

    /// The session, where there is one.
    pub const fn session(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Session(live) => Some(live),
            Self::Named(_) => None,
        }
    }

    /// What they are known by, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Named(named) => match named.by {
                By::AccessToken(_) => "access_token",
                By::PersonalToken(_) => "personal_token",
                By::Supposition => "supposition",
            },
        }
    }
}

/// Whom a request names.
pub enum Found {
    /// Somebody.
    Visitor(Visitor),
    /// Nobody.
    Nobody,
    /// It shows something that does not hold. Whatever else it shows does not count.
    Refused(Fault),
    /// It shows something that holds, and not for this route.
    NotForThis,
}

/// What is wrong with a token, in a word for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// Why it could not be found out whom a request names.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot answer, which is never "signed out".
    #[error("look a session up")]
    Store(#[from] store::Error),
    /// Mosaic cannot be asked about a token.
    #[error("look the user of a token up")]
    User(#[from] crate::mosaic::Error),
}

/// Everything that a request can show.
pub struct Credentials {
    sessions: Arc<Sessions>,
    access_tokens: AccessTokens,
    personal: Personal,
}

/// What credentials are judged by.
pub struct Parts {
    /// The sessions, and who may have one.
    pub sessions: Arc<Sessions>,
    /// The tokens that users made.
    pub personal_tokens: Arc<PersonalTokens>,
    /// The client of Mosaic or of the built-in issuer.
    pub mosaic: Mosaic,
    /// What upstreams are told.
    pub plan: Plan,
    /// The time.
    pub clock: Clock,
    /// What goes on in the background, to be waited for: notes of use.
    pub tasks: TaskTracker,
}

impl Credentials {
    /// Nothing is asked before the first request.
    pub fn new(parts: Parts) -> Arc<Self> {
        let (sessions, mosaic) = (Arc::clone(&parts.sessions), parts.mosaic.clone());
        let access_tokens = AccessTokens::new(Arc::clone(&sessions), mosaic, parts.plan.clone(), parts.clock.clone());
        Arc::new(Self { sessions, access_tokens, personal: Personal::new(parts) })
    }

    /// Whom a request's header fields name. Where tokens are taken, on the route of that name, and one is shown, cookies
    /// do not count.
    ///
    /// # Errors
    /// When the store or Mosaic cannot answer.
    pub async fn find(
        &self,
        headers: &HeaderMap,
        place: Place<'_>,
        takes_tokens: Option<&str>,
    ) -> Result<Found, Error> {
        if takes_tokens.is_some()
            && let Some(authorization) = Authorization::read(headers)
        {
            return match authorization {
                Authorization::Bearer(token) if is_personal(token) => self.personal.find(token, takes_tokens).await,
                Authorization::Bearer(token) => self.access_tokens.find(token).await,
                Authorization::Basic(password) if is_personal(password.expose()) => {
                    self.personal.find(password.expose(), takes_tokens).await
                }
                Authorization::Basic(_) => Ok(Found::Refused(Fault("unknown_token"))),
                Authorization::Malformed => Ok(Found::Refused(Fault("malformed"))),
            };
        }
        let live = self.sessions.find(headers, place).await?.live();
        Ok(live.map_or(Found::Nobody, |live| Found::Visitor(Visitor::Session(live))))
    }

    /// Whom a request names that shows the cookies of an earlier one, by which `live` was found; `None` where [`Self::find`]
    /// must look, because more is shown, or something may have changed.
    pub async fn find_again(
        &self,
        headers: &HeaderMap,
        live: &Arc<Live>,
        takes_tokens: Option<&str>,
        now: Timestamp,
    ) -> Option<Found> {
        if takes_tokens.is_some() && headers.contains_key(http::header::AUTHORIZATION) {
            return None;
        }
        let live = self.sessions.find_again(live, now).await?.live();
        Some(live.map_or(Found::Nobody, |live| Found::Visitor(Visitor::Session(live))))
    }

    /// A visitor who was found before as they are now; `None` once they are signed in no more. Looking is no use of it.
    ///
    /// # Errors
    /// When the store or Mosaic cannot answer, and nothing that was known says that it is over.
    pub async fn again(&self, visitor: &Visitor) -> Result<Option<Visitor>, Error> {
        let named = match visitor {
            Visitor::Session(live) => return Ok(self.sessions.again(live).await?.map(Visitor::Session)),
            Visitor::Named(named) => named,
        };
        let found = match &named.by {
            By::AccessToken(token) => self.access_tokens.find(token.expose()).await?,
            By::PersonalToken(token) => self.personal.find(token.expose(), None).await?,
            By::Supposition => return Ok(Some(visitor.clone())),
        };
        Ok(match found {
            Found::Visitor(visitor) => Some(visitor),
            Found::Nobody | Found::Refused(_) | Found::NotForThis => None,
        })
    }

    /// Forgets the personal tokens that are revoked elsewhere, for as long as the store can be listened to.
    ///
    /// # Errors
    /// When the store cannot be listened to at all.
    pub async fn listen(&self) -> Result<(), store::Error> {
        self.personal.listen().await
    }
}

fn is_personal(token: &str) -> bool {
    token.starts_with(personal_token::PREFIX)
}
