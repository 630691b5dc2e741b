//! One-time codes that a visitor types: having one sent by mail or text message, and redeeming it.

use std::time::Duration;

use serde_json::json;

use super::call::Repeat;
use super::error::Error;
use super::magic_link::{Sent, identified, whole_minutes};
use super::signed_in::SignedIn;
use super::{Device, EmailContent, Login, Mosaic, below};
use crate::identity::Identifier;

/// The calls' names in metrics and logs.
pub(super) const SEND: &str = "send_code";
pub(super) const AUTHENTICATE: &str = "authenticate_code";

/// The message with a code in it: a text message for a phone number, a mail for everything else.
#[derive(Clone, Copy)]
pub struct SendCode<'a> {
    /// Who gets it.
    pub identifier: &'a Identifier,
    /// How long the code works; Mosaic counts in minutes, so this is rounded up.
    pub lifetime: Duration,
    /// The device that asked.
    pub device: Device<'a>,
    /// Texts that replace the tenant's template as a whole; for mail only.
    pub email_content: Option<&'a EmailContent>,
}

impl Mosaic {
    /// Has Mosaic send a code. It is asked once: no failure is answered by a second message.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::UserNotActive`] and [`Error::NoAddress`] are about the visitor and must not be
    /// told to them; [`Error::CodesNotSetUp`] is the operator's to mend.
    pub async fn send_code(&self, code: &SendCode<'_>) -> Result<Sent, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "otp", "send"]);
        let mut body = identified(code.identifier);
        body["channel"] = json!(if code.identifier.is_phone_number() { "sms" } else { "email" });
        body["expires_in"] = json!(whole_minutes(code.lifetime));
        if let Some(content) = code.email_content.filter(|_| !code.identifier.is_phone_number()) {
            body["email_content"] = json!(content);
        }
        let body = self.wording().send(body, &code.device);
        let answer = self.call(SEND, Repeat::Never, |http| code.device.ask(http.post(&url)).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(|refusal| match refusal.status {
            400 | 403 | 404 if refusal.says(&["auth_login_preferences_missing"]) => Error::CodesNotSetUp,
            400 if refusal.says(&["external_provider_configuration_error"]) => Error::CodesNotSetUp,
            400 | 404 if refusal.says(&["user_email_address_missing", "user_phone_number_missing"]) => Error::NoAddress,
            _ => refusal.into_error(),
        })?;
        self.sent(&answer)
    }

    /// Redeems a typed code and verifies who it was.
    ///
    /// # Errors
    /// [`Error::WrongCode`], [`Error::CodeExpired`] and [`Error::Locked`] are for the visitor to hear.
    pub async fn authenticate_code(
        &self,
        identifier: &Identifier,
        passcode: &str,
        login: &Login<'_>,
    ) -> Result<SignedIn, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "otp", "authenticate"]);
        let mut body = identified(identifier);
        body["passcode"] = json!(passcode);
        let body = self.wording().login(body, login, false);
        // A code works once: without keys the tokens that it gives could not be believed.
        self.keys().ready().await?;
        let asked_at = self.now();
        let answer = self.call(AUTHENTICATE, Repeat::Never, |http| http.post(&url).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(|refusal| match refusal.status {
            400 | 401 | 403 if refusal.says(&["auth_locked", "locked"]) => Error::Locked,
            400 | 403 if refusal.says(&["auth_otp_passcode_expired", "expired"]) => Error::CodeExpired,
            // A code that cannot be one is as wrong as any other.
            400 if refusal.says(&["auth_invalid_credentials", "system_invalid_input", "passcode"]) => Error::WrongCode,
            _ => refusal.into_error(),
        })?;
        self.logged_in(&answer, login, asked_at).await
    }
}
