//! Has Mosaic send the link, or the code, in the background: the visitor was answered, and whatever comes of it is
//! for the log.

use std::sync::Arc;
use std::time::Duration;

use super::{Portal, Visit, names};
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::{AddressRule, EmailAddress, Identifier, Subject};
use crate::mosaic::{self, Device, EmailContent, NewUser, SendCode, SendMagicLink, Sent};
use crate::pages::{Language, MailFacts};
use crate::secret::Secret;
use crate::session::Chain;
use crate::session::attempt::{Attempt, AttemptKey, Browser, Sending, Way};
use crate::store;

/// A user who was just made may not be found at once: how long to wait before each further try.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// What is to be sent, and for whom.
pub(super) struct Order {
    pub(super) visit: Visit,
    pub(super) browser: Browser,
    pub(super) key: AttemptKey,
    pub(super) attempt: Attempt,
    pub(super) user_agent: Option<String>,
    pub(super) device_id: Option<String>,
    pub(super) message: Message,
}

/// What is sent.
pub(super) enum Message {
    /// A link, whose callback carries the `state`.
    Link(Secret<String>),
    /// A code to type.
    Code,
}

impl Order {
    fn device(&self) -> Device<'_> {
        let (user_agent, id) = (self.user_agent.as_deref(), self.device_id.as_deref());
        let language = Some(self.visit.reader.language.tag());
        Device { user_agent, address: Some(self.visit.client), id, language }
    }

    const fn way(&self) -> Way {
        match self.message {
            Message::Link(_) => Way::Link,
            Message::Code => Way::Code,
        }
    }
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Mosaic(#[from] mosaic::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Portal {
    /// Sends in a task of its own.
    pub(super) fn dispatch(self: &Arc<Self>, order: Order) {
        let portal = Arc::clone(self);
        self.tasks.spawn(async move {
            let request_id = &order.visit.request_id;
            let sent = portal.carry_out(&order).await;
            let (done, what) = match order.way() {
                Way::Link => ("sent", "a link"),
                Way::Code => ("code_sent", "a code"),
            };
            match sent {
                Ok(()) => {
                    portal.metrics.sign_in(done);
                    tracing::info!(request.id = request_id, "sent {what}");
                }
                Err(Failed::Mosaic(error)) if error.is_about_the_user() => {
                    portal.metrics.sign_in("not_sent");
                    tracing::info!(request.id = request_id, reason = %error, "{what} was asked for and not sent");
                }
                Err(error) => {
                    portal.metrics.sign_in("failed");
                    tracing::warn!(request.id = request_id, error = %Chain(&error), "failed to send {what}");
                }
            }
        });
    }

    async fn carry_out(&self, order: &Order) -> Result<(), Failed> {
        // Before it is sent: who has the code can type it, whatever happens here meanwhile.
        if order.way() == Way::Code || self.options.code_comes_with_link {
            let attempt = &order.attempt;
            self.attempts.own_code(&attempt.identifier, &order.key, attempt.expires_at).await?;
        }
        let (mut subject, mut sent) = match self.subject_of(&order.attempt.identifier).await {
            Ok(subject) => (subject, self.send(order).await),
            Err(error) => (None, Err(error)),
        };
        if matches!(sent, Err(mosaic::Error::UserNotFound))
            && let Some(user) = self.newcomer(&order.attempt.identifier)
        {
            self.mosaic.create_user(&user).await?;
            (subject, sent) = self.send_to_newcomer(order).await?;
        }
        let request_id = sent?.request_id.map(|id| id.expose().clone());
        let sending = Sending { subject, request_id };
        // Without anything to remember there is nothing to lose.
        if sending != Sending::default() {
            let until = order.attempt.expires_at;
            self.attempts.note(&order.browser, &order.key, order.way(), &sending, until).await?;
        }
        Ok(())
    }

    /// The user whom Mosaic knows by a name that is no address: the link that comes back must be theirs.
    async fn subject_of(&self, identifier: &Identifier) -> Result<Option<Subject>, mosaic::Error> {
        if identifier.email().is_some() {
            return Ok(None);
        }
        let user = self.mosaic.find_user(identifier).await?.ok_or(mosaic::Error::UserNotFound)?;
        Ok(Some(user.subject))
    }

    /// The user to make where the rules let this one sign up. Mosaic makes users by address or phone number only.
    fn newcomer(&self, identifier: &Identifier) -> Option<NewUser> {
        let rules = &self.sign_up.allow;
        match identifier {
            Identifier::Email(address) => {
                names(rules, address).then(|| NewUser { email: Some(address.clone()), ..NewUser::default() })
            }
            // Rules name addresses; only the one for everybody names a phone number.
            other if other.is_phone_number() && rules.contains(&AddressRule::Anyone) => {
                Some(NewUser { phone_number: Some(other.value().to_owned()), ..NewUser::default() })
            }
            Identifier::Other { .. } => None,
        }
    }

    async fn send_to_newcomer(
        &self,
        order: &Order,
    ) -> Result<(Option<Subject>, Result<Sent, mosaic::Error>), mosaic::Error> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let subject = self.subject_of(&order.attempt.identifier).await;
            let sent = match &subject {
                Ok(_) => self.send(order).await,
                Err(error) => Err(error.clone()),
            };
            match (sent, pauses.next()) {
                (Err(mosaic::Error::UserNotFound), Some(pause)) => tokio::time::sleep(pause).await,
                (sent, _) => return Ok((subject?, sent)),
            }
        }
    }

    async fn send(&self, order: &Order) -> Result<Sent, mosaic::Error> {
        let (attempt, device) = (&order.attempt, order.device());
        let now = self.clock.now();
        let content = self.email_content(attempt, &device, order.way(), order.visit.reader.language, now);
        let lifetime = attempt.expires_at.since(now);
        match &order.message {
            Message::Link(state) => {
                let link = SendMagicLink {
                    identifier: &attempt.identifier,
                    redirect_uri: &self.redirect_uri(),
                    state: state.expose(),
                    link_lifetime: lifetime,
                    device,
                    email_content: content.as_ref(),
                };
                self.mosaic.send_magic_link(&link).await
            }
            Message::Code => {
                let code =
                    SendCode { identifier: &attempt.identifier, lifetime, device, email_content: content.as_ref() };
                self.mosaic.send_code(&code).await
            }
        }
    }

    /// The texts of the mail in the gateway's own words, unless somebody else has better ones.
    fn email_content(
        &self,
        attempt: &Attempt,
        device: &Device<'_>,
        way: Way,
        language: Language,
        asked_at: Timestamp,
    ) -> Option<EmailContent> {
        if !self.options.own_mail_texts {
            return None;
        }
        // Nothing that a stranger wrote goes into a mail.
        let agent = Agent::well_known(device.user_agent);
        let facts = MailFacts {
            language,
            asked_at,
            expires_at: attempt.expires_at,
            browser: &agent.browser,
            system: agent.system.as_deref(),
            address: device.address,
            is_code: way == Way::Code,
        };
        let texts = self.pages.mail_texts(&facts);
        Some(EmailContent {
            subject: texts.subject,
            sender_name: Some(texts.sender),
            header_text: Some(texts.header),
            body_text: Some(texts.body),
            link_text: Some(texts.button),
            info_text: Some(texts.info),
            footer_text: Some(texts.footer),
            primary_color: Some(texts.color),
            logo: texts.logo,
        })
    }

    /// Whether the policy lets somebody be sent anything. What is known by a name that is no address is seen to when it
    /// comes back.
    pub(super) fn may_be_sent_to(&self, identifier: &Identifier) -> bool {
        identifier.email().is_none_or(|address: &EmailAddress| self.sessions.admission().may_ask(address))
    }
}
