//! Silent login: whoever is signed in at another application of the tenant is signed in here as well, where the
//! operator turns it on.
//!
//! The other application keeps the name of its session at Mosaic in a cookie that this origin gets too. Mosaic is asked
//! about it when somebody signed out comes to sign in, once in a while and never as a poll.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, header};

use super::answer::{Failure, see_other};
use super::{Portal, Visit, visit, whence};
use crate::mosaic::Step;
use crate::secret;
use crate::session::Chain;
use crate::session::cookie::foreign_values;

/// How long Mosaic is not asked again about a session.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest name of a session.
const LONGEST: usize = 1024;

impl Portal {
    /// Signs a visitor in whom another application signed in; `None` where the sign-in page has to be shown.
    pub(super) async fn sign_in_silently(
        self: &Arc<Self>,
        visit: &Visit,
        headers: &HeaderMap,
        return_to: &str,
        organization: Option<&str>,
    ) -> Result<Option<Response>, Failure> {
        let Some(name) = &self.sign_in.silent_login_cookie else { return Ok(None) };
        let [session_id] = foreign_values(headers, name)[..] else { return Ok(None) };
        let is_name = (1..=LONGEST).contains(&session_id.len()) && session_id.bytes().all(|b| b.is_ascii_graphic());
        if !is_name || !visit::is_deliberate(headers) || !self.mosaic.is_reachable(Step::SignInSilently) {
            return Ok(None);
        }
        let asked = format!("silent_login:{}", secret::fingerprint(session_id));
        let due = self.store.put_if_absent(&asked, &[], self.clock.now().plus(PAUSE)).await?;
        if !due || self.throttle.admit(visit.client).await?.is_some() {
            return Ok(None);
        }
        let signed_in = match self.mosaic.authenticate_session(session_id, organization).await {
            Ok(signed_in) => signed_in,
            Err(error) => {
                tracing::info!(request.id = visit.request_id, reason = %Chain(&error), "did not sign a visitor in silently");
                return Ok(None);
            }
        };
        let subject = signed_in.identity.subject.clone();
        if !self.sessions.admission().admits(&signed_in.identity) {
            tracing::info!(request.id = visit.request_id, %subject, "refused a silent sign-in by policy");
            return Ok(None);
        }
        let cookie = self.sessions.begin(&signed_in, organization.map(str::to_owned), whence(visit, headers)).await?;
        self.note_browser(&signed_in.identity, visit, headers);
        self.metrics.sign_in("redeemed");
        tracing::info!(request.id = visit.request_id, %subject, way = "silent", "signed in");
        let mut answer = see_other(return_to);
        answer.headers_mut().append(header::SET_COOKIE, cookie);
        answer.headers_mut().append(header::SET_COOKIE, self.completed_round(headers));
        Ok(Some(answer))
    }
}
