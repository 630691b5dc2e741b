//! Mosaic's backend sessions: silent login, refresh, and the end.

use serde::Deserialize;
use serde_json::json;

use super::call::Repeat;
use super::error::{Error, Refusal};
use super::signed_in::{Refreshed, SignedIn};
use super::{Login, Mosaic, below, wire};
use crate::identity::Subject;
use crate::secret::Secret;

/// The call's name in metrics and logs.
pub(super) const AUTHENTICATE: &str = "authenticate_session";

/// A session at Mosaic, as an administrator sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct ListedSession {
    /// Its name, by which it can be ended.
    #[serde(deserialize_with = "wire::secret")]
    pub session_id: Secret<String>,
    /// When it began, as Mosaic writes it (ISO 8601).
    #[serde(default)]
    pub start_time: Option<String>,
    /// When it ends, as Mosaic writes it (ISO 8601).
    #[serde(default)]
    pub expiration_time: Option<String>,
}

impl Mosaic {
    /// Signs a visitor in again without asking them anything, and extends Mosaic's session.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`] when the session is over and the visitor must sign in anew.
    pub async fn authenticate_session(&self, session_id: &str, organization: Option<&str>) -> Result<SignedIn, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "session", "authenticate"]);
        let login = Login { organization, session_id: Some(session_id), ..Login::default() };
        let body = self.wording().login(json!({ "session_id": session_id }), &login, true);
        let asked_at = self.now();
        let answer = self.call(AUTHENTICATE, Repeat::Never, |http| http.post(&url).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(|refusal| {
            let is_over = refusal.status == 400 && refusal.says(&["session"]);
            if is_over { Error::SessionNotFound } else { refusal.into_error() }
        })?;
        self.signed_in(&answer, &login, asked_at).await
    }

    /// Exchanges a refresh token. It works once, so what comes back must be kept.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`] when the token is used, revoked or too old.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Refreshed, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "token", "refresh"]);
        let body = json!({ "refresh_token": refresh_token });
        let asked_at = self.now();
        let answer = self.call("refresh", Repeat::Never, |http| http.post(&url).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(|refusal| {
            let is_over = refusal.status == 400 && refusal.says(&["refresh", "token", "session", "invalid_grant"]);
            if is_over { Error::SessionNotFound } else { refusal.into_error() }
        })?;
        self.refreshed(&answer, asked_at).await
    }

    /// Ends Mosaic's session and revokes its refresh tokens. One that is gone already is as good.
    ///
    /// # Errors
    /// When Mosaic could not be made to end it.
    pub async fn end_session(&self, session_id: &str) -> Result<(), Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "session", "logout"]);
        let body = json!({ "session_id": session_id });
        let answer = self.call("end_session", Repeat::Once, |http| http.post(&url).json(&body)).await?;
        match answer.with_status(&[200, 204]) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is_gone() => Ok(()),
            Err(refusal) => Err(Refusal::into_error(refusal)),
        }
    }

    /// The backend sessions of a user, at every application of the tenant.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], or when Mosaic does not say.
    pub async fn sessions_of(&self, subject: &Subject) -> Result<Vec<ListedSession>, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "users", subject.as_str(), "sessions"]);
        let answer = self.call("sessions_of", Repeat::Once, |http| http.get(&url)).await?;
        let answer = answer
            .with_status(&[200])
            .map_err(|refusal| if refusal.is_not_found() { Error::UserNotFound } else { refusal.into_error() })?;
        answer.json()
    }

    /// Ends every backend session of a user, at every application of the tenant.
    ///
    /// # Errors
    /// When Mosaic could not be made to end them.
    pub async fn end_sessions_of(&self, subject: &Subject) -> Result<(), Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "users", subject.as_str(), "sessions"]);
        let answer = self.call("end_sessions_of", Repeat::Once, |http| http.delete(&url)).await?;
        match answer.with_status(&[200, 204]) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is_gone() => Ok(()),
            Err(refusal) => Err(Refusal::into_error(refusal)),
        }
    }
}
