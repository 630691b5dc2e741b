//! Backend sessions: named by `session_id`, two weeks long, extended whenever tokens are issued in them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::api::{Body, CommonRefusals, LinkRefused, Refusal, Refused, Segment};
use super::client::Caller;
use super::login::Wishes;
use super::tokens::TokenAnswer;
use super::users::User;
use super::{Inner, records};
use crate::clock::Timestamp;
use crate::secret::{fingerprint, random_token};
use crate::store;

pub(super) const LIFETIME: Duration = Duration::from_secs(14 * 86_400);

/// The ID stays in the record because the list of a user's sessions must name it.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) session_id: String,
    pub(super) user_id: String,
    /// When the user last proved who they are.
    pub(super) auth_time: Timestamp,
    /// How they did: `eml` is a link by mail, `eotp` a code by mail, `sms` a code by text.
    amr: Vec<String>,
    /// The application whose client opened it; all applications of the tenant share it.
    #[serde(default)]
    pub(super) app_id: Option<String>,
    /// What the sign-in of this very call approved. It is said once and not kept.
    #[serde(skip)]
    pub(super) approval_data: Option<Map<String, Value>>,
    pub(super) started_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Session {
    /// Its name in the store.
    pub(super) fn name(&self) -> String {
        fingerprint(&self.session_id)
    }

    /// `amr` of its ID tokens: the proofs, and `mfa` where they are of more than one kind.
    pub(super) fn methods(&self) -> Vec<&str> {
        let methods = self.amr.iter().map(String::as_str);
        if self.amr.len() > 1 { methods.chain(["mfa"]).collect() } else { methods.collect() }
    }

    /// Another proof in the same session.
    pub(super) fn add_proof(&mut self, method: &str, now: Timestamp) {
        self.auth_time = now;
        if !self.amr.iter().any(|known| known == method) {
            self.amr.push(method.to_owned());
        }
    }
}

fn session_key(name: &str) -> String {
    format!("issuer/session/{name}")
}

fn sessions_of(user_id: &str) -> String {
    format!("issuer/sessions_of/{user_id}")
}

impl Inner {
    pub(super) async fn open_session(&self, user: &User, method: &str, app_id: &str) -> Result<Session, store::Error> {
        let now = self.clock.now();
        let session = Session {
            session_id: random_token().expose().clone(),
            user_id: user.user_id.clone(),
            auth_time: now,
            amr: vec![method.to_owned()],
            app_id: Some(app_id.to_owned()),
            approval_data: None,
            started_at: now,
            expires_at: now.plus(LIFETIME),
        };
        self.store.index_add(&sessions_of(&user.user_id), &session.name(), session.expires_at).await?;
        records::save(self.store.as_ref(), &session_key(&session.name()), &session, session.expires_at).await?;
        Ok(session)
    }

    pub(super) async fn session(&self, session_id: &str) -> Result<Option<Session>, store::Error> {
        self.session_named(&fingerprint(session_id)).await
    }

    pub(super) async fn session_named(&self, name: &str) -> Result<Option<Session>, store::Error> {
        records::load(self.store.as_ref(), &session_key(name)).await
    }

    /// Gives the session its full length again; `false` when it ended meanwhile.
    pub(super) async fn extend_session(&self, session: &mut Session) -> Result<bool, store::Error> {
        session.expires_at = self.clock.now().plus(LIFETIME);
        let key = session_key(&session.name());
        if !records::replace(self.store.as_ref(), &key, session, session.expires_at).await? {
            return Ok(false);
        }
        self.store.index_add(&sessions_of(&session.user_id), &session.name(), session.expires_at).await?;
        Ok(true)
    }

    /// Ends the session and with it its refresh tokens, which live only while it does; `false` when there was none.
    pub(super) async fn end_session(&self, name: &str) -> Result<bool, store::Error> {
        let Some(session) = records::take::<Session>(self.store.as_ref(), &session_key(name)).await? else {
            return Ok(false);
        };
        self.store.index_remove(&sessions_of(&session.user_id), name).await?;
        Ok(true)
    }

    /// Ends those of the user's sessions that `which` names, and says how many there were.
    pub(super) async fn end_sessions(
        &self,
        user_id: &str,
        which: impl Fn(&Session) -> bool,
    ) -> Result<usize, store::Error> {
        let mut ended = 0;
        for session in self.sessions_of(user_id).await? {
            if which(&session) {
                ended += usize::from(self.end_session(&session.name()).await?);
            }
        }
        Ok(ended)
    }

    /// The user's sessions, the oldest first.
    async fn sessions_of(&self, user_id: &str) -> Result<Vec<Session>, store::Error> {
        let mut sessions = Vec::new();
        for name in self.store.index_members(&sessions_of(user_id)).await? {
            sessions.extend(self.session_named(&name).await?);
        }
        sessions.sort_by_key(|session| session.started_at);
        Ok(sessions)
    }
}

#[derive(Deserialize, ToSchema)]
pub(super) struct SessionLogin {
    session_id: String,
    #[serde(flatten)]
    wishes: Wishes,
}

/// New tokens in a session that lives, for the application of the caller.
#[utoipa::path(
    post, path = "/cis/v1/auth/session/authenticate", tag = "sessions", operation_id = "authenticateSession",
    request_body = SessionLogin,
    responses(
        (status = 200, description = "The tokens", body = TokenAnswer),
        (status = 400, description = "The session is over, its user is none of the application, or a field is not what \
            it should be", body = LinkRefused),
        (status = 403, description = "The user is not active", body = LinkRefused),
        CommonRefusals,
    ),
)]
pub(super) async fn authenticate(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Body(login): Body<SessionLogin>,
) -> Result<Json<TokenAnswer>, Refusal> {
    const NO_USER: Refusal = Refusal::Numbered(StatusCode::BAD_REQUEST, "User not found");
    let granted = login.wishes.grant(&caller.client)?;
    let mut session = issuer.session(&login.session_id).await?.ok_or(Refusal::NO_SESSION)?;
    let user = issuer.user(&session.user_id).await?.ok_or(Refusal::NO_SESSION)?;
    if !user.is_visible_to(&caller.client) {
        return Err(NO_USER);
    }
    if !user.is_active() {
        return Err(Refusal::NOT_ACTIVE);
    }
    if !issuer.extend_session(&mut session).await? {
        return Err(Refusal::NO_SESSION);
    }
    Ok(Json(issuer.grant_tokens(&caller, &user, &session, granted).await?))
}

#[derive(Deserialize, ToSchema)]
pub(super) struct Logout {
    session_id: String,
}

/// Ends a session, for all applications, with its refresh tokens.
#[utoipa::path(
    post, path = "/cis/v1/auth/session/logout", tag = "sessions", operation_id = "logout",
    request_body = Logout,
    responses(
        (status = 204, description = "The session is over"),
        (status = 400, description = "The session was over already, or a field is not what it should be",
            body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn logout(
    State(issuer): State<Arc<Inner>>,
    Body(logout): Body<Logout>,
) -> Result<StatusCode, Refusal> {
    let ended = issuer.end_session(&fingerprint(&logout.session_id)).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NO_SESSION) }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct ShownSession {
    session_id: String,
    #[schema(format = "date-time")]
    start_time: String,
    #[schema(format = "date-time")]
    expiration_time: String,
}

/// The user's sessions, the oldest first.
#[utoipa::path(
    get, path = "/cis/v1/auth/users/{user_id}/sessions", tag = "sessions", operation_id = "getUserSessions",
    params(("user_id" = String, Path)),
    responses(
        (status = 200, description = "The sessions", body = Vec<ShownSession>),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn list(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
) -> Result<Json<Vec<ShownSession>>, Refusal> {
    let user = issuer.visible_user(&caller.client, &user_id).await?;
    let sessions = issuer.sessions_of(&user.user_id).await?;
    let shown = sessions.into_iter().map(|session| ShownSession {
        start_time: session.started_at.to_string(),
        expiration_time: session.expires_at.to_string(),
        session_id: session.session_id,
    });
    Ok(Json(shown.collect()))
}

/// Ends all of the user's sessions, for all applications.
#[utoipa::path(
    delete, path = "/cis/v1/auth/users/{user_id}/sessions", tag = "sessions", operation_id = "revokeUserSessions",
    params(("user_id" = String, Path)),
    responses(
        (status = 204, description = "They are over"),
        (status = 400, description = "The path cannot be read", body = Refused),
        (status = 404, description = "The application has no such user", body = Refused),
        CommonRefusals,
    ),
)]
pub(super) async fn end_all(
    State(issuer): State<Arc<Inner>>,
    Extension(caller): Extension<Caller>,
    Segment(user_id): Segment,
) -> Result<StatusCode, Refusal> {
    let user = issuer.visible_user(&caller.client, &user_id).await?;
    issuer.end_sessions(&user.user_id, |_| true).await?;
    Ok(StatusCode::NO_CONTENT)
}
