//! What the sign-in calls have in common: what they may ask for, and how a proof becomes a session with tokens.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Inner;
use super::api::Refusal;
use super::client::{Audience, Caller, Client};
use super::sessions::Session;
use super::tokens::{ClaimsRequest, TokenAnswer};
use super::users::{Proof, User};

/// The longest `device_id`, in characters (Mosaic's limit).
const LONGEST_DEVICE_ID: usize = 80;

pub(super) const NO_USER: Refusal = Refusal::Worded(StatusCode::BAD_REQUEST, "User not found");
const NO_SESSION: Refusal = Refusal::Worded(StatusCode::BAD_REQUEST, "Session not found");
/// The issuer has no organisations, so nobody is a member of one.
const NO_ORGANIZATION: Refusal = Refusal::Worded(StatusCode::BAD_REQUEST, "Organization not found");

/// What a sign-in call may ask for beside the sign-in.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct Wishes {
    /// The URI that becomes `aud` of the access token.
    resource: Option<String>,
    claims: Option<Claims>,
    /// Refused: the issuer has no organisations.
    org_id: Option<String>,
    #[expect(dead_code, reason = "it is read so that something else in its place is refused")]
    client_attributes: Option<ClientAttributes>,
    #[schema(max_length = 80)]
    device_id: Option<String>,
}

/// What a sign-in call gets beside the sign-in.
pub(super) struct Granted {
    claims: ClaimsRequest,
    audience: Audience,
}

impl Wishes {
    pub(super) fn grant(self, client: &Client) -> Result<Granted, Refusal> {
        check_device_id(self.device_id.as_deref())?;
        if self.org_id.is_some_and(|id| !id.is_empty()) {
            return Err(NO_ORGANIZATION);
        }
        let audience = client.audience(self.resource.as_deref())?;
        Ok(Granted { claims: self.claims.unwrap_or_default().id_token.unwrap_or_default(), audience })
    }
}

pub(super) fn check_device_id(id: Option<&str>) -> Result<(), Refusal> {
    let fine = id.is_none_or(|id| id.chars().count() <= LONGEST_DEVICE_ID);
    if fine { Ok(()) } else { Err(Refusal::field("device_id must be shorter than or equal to 80 characters")) }
}

/// The `claims` parameter: claim names, each with null or, for custom data, `{"fields": [...]}`. What is asked for the
/// access token and for UserInfo adds nothing.
#[derive(Default, Deserialize, ToSchema)]
struct Claims {
    #[schema(value_type = Option<Object>)]
    id_token: Option<ClaimsRequest>,
    #[schema(value_type = Option<Object>)]
    #[expect(dead_code, reason = "it is read so that something else in its place is refused")]
    access_token: Option<Map<String, Value>>,
}

/// What the caller knows about the browser that asks.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub(super) struct ClientAttributes {
    pub(super) user_agent: Option<String>,
    pub(super) ip_address: Option<String>,
}

/// What a user has just done to sign in.
pub(super) struct Shown<'a> {
    /// The word for it in `amr`.
    pub(super) method: &'a str,
    pub(super) proof: &'a Proof,
    /// What was approved by it.
    pub(super) approval_data: Option<Map<String, Value>>,
}

impl Inner {
    /// The user whom a link or code is for, if they may sign in with this caller.
    pub(super) async fn user_to_sign_in(&self, caller: &Caller, user_id: &str) -> Result<User, Refusal> {
        let user = self.user(user_id).await?.filter(|user| user.is_visible_to(&caller.client)).ok_or(NO_USER)?;
        if user.is_active() { Ok(user) } else { Err(Refusal::NOT_ACTIVE) }
    }

    /// The session that a login is to be added to.
    pub(super) async fn earlier_session(&self, id: Option<&str>, user: &User) -> Result<Option<Session>, Refusal> {
        let Some(id) = id else { return Ok(None) };
        let session = self.session(id).await?.filter(|session| session.user_id == user.user_id);
        session.map(Some).ok_or(NO_SESSION)
    }

    /// Signs the user in, after link or code were used up: into a new session, or one level up in an earlier one.
    pub(super) async fn sign_in(
        &self,
        caller: &Caller,
        earlier: Option<Session>,
        user_id: &str,
        shown: Shown<'_>,
    ) -> Result<(User, Session), Refusal> {
        let user = self.note_sign_in(user_id, shown.proof).await?.ok_or(NO_USER)?;
        if !user.is_active() {
            return Err(Refusal::NOT_ACTIVE);
        }
        let mut session = match earlier {
            None => self.open_session(&user, shown.method, &caller.client.app_id).await?,
            Some(mut session) => {
                session.add_proof(shown.method, self.clock.now());
                if !self.extend_session(&mut session).await? {
                    return Err(NO_SESSION);
                }
                session
            }
        };
        session.approval_data = shown.approval_data;
        Ok((user, session))
    }

    pub(super) async fn grant_tokens(
        &self,
        caller: &Caller,
        user: &User,
        session: &Session,
        granted: Granted,
    ) -> Result<TokenAnswer, Refusal> {
        self.issue(&caller.client, user, session, granted.claims, granted.audience).await
    }
}
