//! Magic links: having one mailed, and redeeming the code that comes back.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::call::{Answer, Repeat};
use super::error::{Error, Refusal};
use super::signed_in::SignedIn;
use super::{Device, Login, Mosaic, below, wire};
use crate::identity::Identifier;
use crate::secret::Secret;

/// The call's name in metrics and logs.
pub(super) const SEND: &str = "send_magic_link";

/// The mail with a link in it.
#[derive(Clone, Copy)]
pub struct SendMagicLink<'a> {
    /// Who gets the mail.
    pub identifier: &'a Identifier,
    /// Where the link leads in the end; it must be among the application's redirect URIs.
    pub redirect_uri: &'a str,
    /// Comes back beside the code.
    pub state: &'a str,
    /// How long the link works; Mosaic counts in minutes, so this is rounded up.
    pub link_lifetime: Duration,
    /// The device that asked.
    pub device: Device<'a>,
    /// Texts that replace the tenant's template as a whole.
    pub email_content: Option<&'a EmailContent>,
}

/// The texts of a mail. One that is absent is left empty in the mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailContent {
    /// The subject line.
    pub subject: String,
    /// The name of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    /// The headline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_text: Option<String>,
    /// The text above the button.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_text: Option<String>,
    /// The text of the button.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_text: Option<String>,
    /// The text below the button.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info_text: Option<String>,
    /// The text at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer_text: Option<String>,
    /// The colour of the button, as `#6981FF`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_color: Option<String>,
    /// The logo in base64, at most 20000 characters.
    #[serde(rename = "base64logo", skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
}

/// What a send was answered with.
#[derive(Debug)]
pub struct Sent {
    /// What the login that follows must give back, where the send asked for it.
    pub request_id: Option<Secret<String>>,
}

#[derive(serde::Deserialize)]
struct SentAnswer {
    #[serde(rename = "message")]
    _message: String,
    #[serde(default, deserialize_with = "wire::optional_secret")]
    request_id: Option<Secret<String>>,
}

impl Sent {
    /// Some other server's page with a 200 is not a mail that went out.
    pub(super) fn read(answer: &Answer) -> Result<Self, Error> {
        answer.json::<SentAnswer>().map(|SentAnswer { request_id, .. }| Self { request_id })
    }
}

impl Mosaic {
    /// Has Mosaic mail a link. It is asked once: no failure is answered by a second mail.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::UserNotActive`] and [`Error::SignUpNotAllowed`] are about the visitor and
    /// must not be told to them; all else is about the set-up or passes.
    pub async fn send_magic_link(&self, link: &SendMagicLink<'_>) -> Result<Sent, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "link", "email", "send"]);
        let mut body = match link.identifier.email().filter(|_| self.wording().legacy_email) {
            Some(address) => json!({ "email": address }),
            None => identified(link.identifier),
        };
        body["redirect_uri"] = json!(link.redirect_uri);
        body["state"] = json!(link.state);
        body["email_expiration"] = json!(whole_minutes(link.link_lifetime));
        if let Some(content) = link.email_content {
            body["email_content"] = json!(content);
        }
        let body = self.wording().send(body, &link.device);
        let answer = self.call(SEND, Repeat::Never, |http| link.device.ask(http.post(&url)).json(&body)).await?;
        self.sent(&answer.with_status(&[200]).map_err(Refusal::into_error)?)
    }

    /// What a send was answered with.
    pub(super) fn sent(&self, answer: &Answer) -> Result<Sent, Error> {
        let sent = Sent::read(answer)?;
        if self.wording().request_ids && sent.request_id.is_none() {
            tracing::warn!(
                "Mosaic gave no request ID, and may refuse the sign-in for want of one: switch `mosaic.request_ids` off"
            );
        }
        Ok(sent)
    }

    /// Redeems the code of a followed link, once, and verifies who it was.
    ///
    /// # Errors
    /// [`Error::InvalidCode`] for one that is wrong, used or too old.
    pub async fn authenticate_magic_link(&self, code: &str, login: &Login<'_>) -> Result<SignedIn, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "link", "email", "authenticate"]);
        let body = self.wording().login(json!({ "code": code }), login, false);
        // A code works once: without keys the tokens that it gives could not be believed.
        self.keys().ready().await?;
        let asked_at = self.now();
        let answer = self.call("authenticate_magic_link", Repeat::Never, |http| http.post(&url).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(|refusal| {
            // Mosaic documents one text; what it says of a code past its time is not written down anywhere.
            let is_about_the_code = refusal.status == 400 && refusal.says(&["code", "expired", "magic link"]);
            if is_about_the_code { Error::InvalidCode } else { refusal.into_error() }
        })?;
        self.logged_in(&answer, login, asked_at).await
    }
}

/// `identifier` and `identifier_type` of a call.
pub(super) fn identified(identifier: &Identifier) -> Value {
    json!({ "identifier": identifier.value(), "identifier_type": identifier.kind() })
}

pub(super) fn whole_minutes(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).div_ceil(60).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_rounded_up_to_minutes() {
        for (seconds, minutes) in [(0, 1), (1, 1), (60, 1), (61, 2), (600, 10), (601, 11)] {
            assert_eq!(whole_minutes(Duration::from_secs(seconds)), minutes, "{seconds} s");
        }
        assert_eq!(whole_minutes(Duration::from_millis(60_001)), 2);
        assert!(whole_minutes(Duration::MAX) > 0);
    }
}
