//! Somebody proved who they are: they must be who was asked for and still be let in, and then they have a session.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use super::answer::{Failure, Refusal, see_other};
use super::{Portal, Visit, whence};
use crate::identity::{Identifier, Identity};
use crate::mosaic::SignedIn;
use crate::secret::Secret;
use crate::session::attempt::{Attempt, Browser, Sending, Way};
use crate::session::{Chain, Live};
use crate::store;

/// An attempt that is about to be finished.
pub(super) struct Entry<'a> {
    pub(super) visit: &'a Visit,
    pub(super) browser: &'a Browser,
    /// The request that brings the proof.
    pub(super) headers: &'a HeaderMap,
    pub(super) attempt: &'a Attempt,
    /// By which of the two ways.
    pub(super) way: Way,
    /// What was noted when link or code was sent.
    pub(super) sending: &'a Sending,
    /// The session that the browser has already.
    pub(super) present: Option<Arc<Live>>,
    /// The session at Mosaic that the proof was added to, where it is a further one.
    pub(super) added_to: Option<&'a Secret<String>>,
    /// The `state` of the link, where one was followed.
    pub(super) state: Option<&'a str>,
}

impl Portal {
    /// Lets the visitor in and leads on to where they wanted to go.
    pub(super) async fn admit(self: &Arc<Self>, entry: Entry<'_>, signed_in: SignedIn) -> Result<Response, Failure> {
        let request_id = &entry.visit.request_id;
        let identity = &signed_in.identity;
        if !is_who_was_asked_for(identity, &entry.attempt.identifier, entry.sending) {
            tracing::error!(
                request.id = request_id,
                subject = %identity.subject,
                "refused a sign-in: the identity is not the one that was asked for, or its address is not verified"
            );
            self.let_go(&entry, &signed_in);
            return Err(Refusal::SignInFailed.into());
        }
        if !self.sessions.admission().admits(identity) {
            tracing::info!(request.id = request_id, subject = %identity.subject, "refused a sign-in by policy");
            self.let_go(&entry, &signed_in);
            return Err(Refusal::NoAccess.into());
        }
        let subject = identity.subject.clone();
        let cookie = match self.begin_session(&entry, &signed_in).await {
            Ok(cookie) => cookie,
            Err(error) => {
                self.let_go(&entry, &signed_in);
                return Err(error.into());
            }
        };
        // From here on the visitor is signed in: what else the store should remember is a convenience.
        if let Some(state) = entry.state
            && let Err(error) = self.attempts.finish(state, entry.attempt).await
        {
            tracing::warn!(request.id = request_id, error = %Chain(&error), "failed to note where a link led");
        }
        self.note_browser(identity, entry.visit, entry.headers);
        self.metrics.sign_in("redeemed");
        let way = match entry.way {
            Way::Link => "link",
            Way::Code => "code",
        };
        tracing::info!(request.id = request_id, %subject, way, "signed in");
        let mut answer = see_other(&entry.attempt.return_to);
        answer.headers_mut().append(header::SET_COOKIE, cookie);
        answer.headers_mut().append(header::SET_COOKIE, self.completed_round(entry.headers));
        // Links that other tabs asked for still need the browser's name.
        if matches!(self.attempts.has_open(entry.browser).await, Ok(false)) {
            answer.headers_mut().append(header::SET_COOKIE, Browser::clearing_cookie(self.jar));
        }
        Ok(answer)
    }

    /// A session of its own for the newcomer; the one that this browser had before goes.
    async fn begin_session(&self, entry: &Entry<'_>, signed_in: &SignedIn) -> Result<HeaderValue, store::Error> {
        let cookie = self
            .sessions
            .begin(signed_in, entry.attempt.organization.clone(), whence(entry.visit, entry.headers))
            .await?;
        if let Some(previous) = &entry.present {
            self.sessions.end_replaced(previous, signed_in).await?;
        }
        Ok(cookie)
    }

    /// Lets go of a sign-in that was not used, in the background; not of a session that was there before it.
    fn let_go(self: &Arc<Self>, entry: &Entry<'_>, signed_in: &SignedIn) {
        if entry.added_to.map(Secret::expose) != Some(signed_in.session_id.expose()) {
            self.end_at_mosaic(signed_in);
        }
    }

    /// Ends a session at Mosaic that nobody will use, in the background.
    pub(super) fn end_at_mosaic(&self, signed_in: &SignedIn) {
        self.sessions.end_at_mosaic(signed_in.session_id.expose());
    }

    /// Ends a session that Mosaic no longer has, so that a plain sign-in is what comes next.
    pub(super) async fn end_lost(&self, present: Option<&Live>) -> Result<(), store::Error> {
        match present {
            Some(live) => self.sessions.end(live).await,
            None => Ok(()),
        }
    }
}

/// An address must come back, and verified. By any other name it is the user whom Mosaic knew by it when it was asked.
fn is_who_was_asked_for(identity: &Identity, identifier: &Identifier, sending: &Sending) -> bool {
    match identifier {
        Identifier::Email(address) => identity.email_verified && identity.email.as_ref() == Some(address),
        Identifier::Other { .. } => sending.subject.as_ref() == Some(&identity.subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{EmailAddress, IdentifierKind, Subject};

    #[test]
    fn an_address_must_come_back_verified_and_any_other_name_as_its_user() {
        let subject = |text: &str| Subject::try_from(text.to_owned()).unwrap();
        let ada = Identity {
            email: Some(EmailAddress::parse("ada@example.com").unwrap()),
            email_verified: true,
            username: Some("ada".to_owned()),
            ..Identity::new(subject("u1"))
        };
        let address = |text: &str| Identifier::Email(EmailAddress::parse(text).unwrap());
        let sent = |to: Option<&str>| Sending { subject: to.map(subject), request_id: None };
        let check = |identity: &Identity, identifier: &Identifier, sending: Sending, expected: bool| {
            assert_eq!(is_who_was_asked_for(identity, identifier, &sending), expected, "{identifier} {sending:?}");
        };
        let name = IdentifierKind::Username.read("ada").unwrap();
        check(&ada, &address("ada@example.com"), sent(None), true);
        check(&ada, &address("eve@example.com"), sent(Some("u1")), false);
        check(&Identity { email_verified: false, ..ada.clone() }, &address("ada@example.com"), sent(None), false);
        check(&ada, &name, sent(Some("u1")), true);
        check(&ada, &name, sent(Some("u2")), false);
        check(&ada, &name, sent(None), false);
    }
}
