//! Magic links: having one mailed, and redeeming the code that comes back.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::call::Repeat;
use super::error::{Error, Refusal};
use super::signed_in::{SignedIn, claims};
use super::{Mosaic, below};
use crate::identity::EmailAddress;

/// User agents are strangers' text; more of one than this is not passed on.
const USER_AGENT_LIMIT: usize = 512;

/// The mail with a link in it.
#[derive(Clone, Copy)]
pub struct SendMagicLink<'a> {
    /// Who gets the mail.
    pub address: &'a EmailAddress,
    /// Where the link leads in the end; it must be among the application's redirect URIs.
    pub redirect_uri: &'a str,
    /// Comes back beside the code.
    pub state: &'a str,
    /// How long the link works; Mosaic counts in minutes, so this is rounded up.
    pub link_lifetime: Duration,
    /// The browser that asked.
    pub user_agent: Option<&'a str>,
    /// The address that it asked from.
    pub client_address: Option<IpAddr>,
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

/// The code that a followed link brought to the callback.
#[derive(Clone, Copy)]
pub struct AuthenticateMagicLink<'a> {
    /// The `code` of the callback's query.
    pub code: &'a str,
    /// The browser that followed the link.
    pub user_agent: Option<&'a str>,
    /// The address that it came from.
    pub client_address: Option<IpAddr>,
}

/// What Mosaic is told about the visitor.
#[derive(Serialize)]
struct ClientAttributes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
}

impl<'a> ClientAttributes<'a> {
    fn new(user_agent: Option<&'a str>, ip_address: Option<IpAddr>) -> Option<Self> {
        let user_agent = user_agent.map(|text| &text[..text.floor_char_boundary(USER_AGENT_LIMIT)]);
        (user_agent.is_some() || ip_address.is_some()).then_some(Self { user_agent, ip_address })
    }
}

#[derive(Serialize)]
struct SendBody<'a> {
    identifier: &'a str,
    identifier_type: &'static str,
    redirect_uri: &'a str,
    state: &'a str,
    email_expiration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_content: Option<&'a EmailContent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_attributes: Option<ClientAttributes<'a>>,
}

impl Mosaic {
    /// Has Mosaic mail a link. It is asked once: no failure is answered by a second mail.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::UserNotActive`] and [`Error::SignUpNotAllowed`] are about the visitor and
    /// must not be told to them; all else is about the set-up or passes.
    pub async fn send_magic_link(&self, link: &SendMagicLink<'_>) -> Result<(), Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "link", "email", "send"]);
        let body = SendBody {
            identifier: link.address.as_str(),
            identifier_type: "email",
            redirect_uri: link.redirect_uri,
            state: link.state,
            email_expiration: whole_minutes(link.link_lifetime),
            email_content: link.email_content,
            client_attributes: ClientAttributes::new(link.user_agent, link.client_address),
        };
        let answer = self.call("send_magic_link", Repeat::Never, |http| http.post(&url).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(Refusal::into_error)?;
        // Some other server's page with a 200 is not a mail that went out.
        answer.json::<Sent>().map(|_| ())
    }

    /// Redeems the code of a followed link, once, and verifies who it was.
    ///
    /// # Errors
    /// [`Error::InvalidCode`] for one that is wrong, used or too old.
    pub async fn authenticate_magic_link(&self, link: &AuthenticateMagicLink<'_>) -> Result<SignedIn, Error> {
        let url = below(&self.connection().base_url, &["cis", "v1", "auth", "link", "email", "authenticate"]);
        let attributes = ClientAttributes::new(link.user_agent, link.client_address);
        let mut body = json!({ "code": link.code, "claims": claims() });
        if let Some(attributes) = attributes {
            body["client_attributes"] = json!(attributes);
        }
        let asked_at = self.now();
        let answer = self.call("authenticate_magic_link", Repeat::Never, |http| http.post(&url).json(&body)).await?;
        let answer = answer.with_status(&[200]).map_err(|refusal| {
            // Mosaic documents one text; what it says of a code past its time is not written down anywhere.
            let is_about_the_code = refusal.status == 400 && refusal.says(&["code", "expired", "magic link"]);
            if is_about_the_code { Error::InvalidCode } else { refusal.into_error() }
        })?;
        let signed_in = self.signed_in(&answer, None, asked_at).await;
        if signed_in.as_ref().is_err_and(|error| !error.is_transient()) {
            self.let_go(&answer).await;
        }
        signed_in
    }
}

/// The answer of a send that worked.
#[derive(serde::Deserialize)]
struct Sent {
    #[serde(rename = "message")]
    _message: String,
}

fn whole_minutes(span: Duration) -> u64 {
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

    #[test]
    fn long_user_agents_are_cut_between_characters() {
        let long = "é".repeat(300) + "x";
        let attributes = ClientAttributes::new(Some(&long[..]), None).unwrap();
        assert_eq!(attributes.user_agent.unwrap().len(), 512);
        assert!(ClientAttributes::new(None, None).is_none());
    }
}
