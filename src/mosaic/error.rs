//! What can go wrong with Mosaic, and how its refusals are read.
//!
//! Mosaic has four shapes of error body. The status decides; the text only tells apart what one status
//! can mean. Nothing of a body is ever shown to a visitor.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::id_token;

/// Why a call to Mosaic did not give what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be set up.
    #[error("set up the HTTP client")]
    Setup(#[source] Arc<reqwest::Error>),
    /// There is no connection, or it broke.
    #[error("reach Mosaic")]
    Unreachable(#[source] Arc<reqwest::Error>),
    /// Mosaic did not answer in time.
    #[error("get an answer from Mosaic in time")]
    TimedOut,
    /// Mosaic keeps failing, so it was not asked.
    #[error("call Mosaic: it failed too often a moment ago and is left alone for a while")]
    CircuitOpen {
        /// For how long still; nothing while another call finds out whether it works again.
        retry_after: Duration,
    },
    /// Mosaic refuses calls for now, or did so a moment ago and was not asked again.
    #[error("call Mosaic: the rate limit is reached")]
    RateLimited {
        /// How long to wait, where Mosaic said so or a pause is under way.
        retry_after: Option<Duration>,
    },
    /// Mosaic is broken for now.
    #[error("call Mosaic: it has a fault of its own (status {status})")]
    ServerFault {
        /// 500 to 599.
        status: u16,
    },
    /// The token endpoint does not accept our client.
    #[error(
        "get a client access token: Mosaic does not accept the client; check `client_id` and its secret, key or certificate ({message})"
    )]
    ClientCredentials {
        /// What Mosaic said, cut and cleaned.
        message: String,
    },
    /// Our client cannot sign for itself.
    #[error("sign a statement with `private_key_file`")]
    ClientAssertion,
    /// Our client lacks a permission.
    #[error("call Mosaic: the client's roles do not permit it; give the client a role that does, or none")]
    NotPermitted,
    /// The redirect URI is not among those of the application.
    #[error("send a magic link: add the callback URL to the redirect URIs of the Mosaic application")]
    RedirectUriNotAllowed,
    /// There is no such user, or not in this application.
    #[error("find the user")]
    UserNotFound,
    /// The user is suspended.
    #[error("sign in a user who is not active")]
    UserNotActive,
    /// The user does not exist and the application takes nobody new.
    #[error("sign up a user: the Mosaic application does not allow it")]
    SignUpNotAllowed,
    /// The client's application does not exist.
    #[error("find the Mosaic application that the client belongs to")]
    AppNotFound,
    /// The code is wrong, used, or too old.
    #[error("redeem the code: it is wrong, used or expired")]
    InvalidCode,
    /// The typed code is not the one that was sent.
    #[error("redeem the typed code: it is wrong")]
    WrongCode,
    /// The typed code came too late.
    #[error("redeem the typed code: it has expired")]
    CodeExpired,
    /// Too many wrong codes were typed for this user.
    #[error("redeem the typed code: there were too many wrong ones, and Mosaic takes none for a while")]
    Locked,
    /// The user has no address, or no phone number, that a code could be sent to.
    #[error("send a code: the user has no address for it")]
    NoAddress,
    /// The tenant's application sends no codes.
    #[error("send a code: switch one-time codes on for the Mosaic application, and set its mail or SMS provider up")]
    CodesNotSetUp,
    /// The user is not a member of the organisation.
    #[error("sign in to the organisation: the user is not a member, or there is no such organisation")]
    NotInOrganization,
    /// The session, or the refresh token, is over.
    #[error("find the session at Mosaic")]
    SessionNotFound,
    /// Mosaic gave a token that does not hold.
    #[error("verify a token from Mosaic")]
    Token(#[from] id_token::Error),
    /// A refusal for a reason that this client does not know, of what the call was about.
    #[error("have Mosaic accept `{call}` (status {status}): {message}")]
    Refused {
        /// The call's name.
        call: &'static str,
        /// The status of the answer.
        status: u16,
        /// What Mosaic said, cut and cleaned.
        message: String,
    },
    /// An answer that this client does not know.
    #[error("understand Mosaic's answer to `{call}` (status {status}): {message}")]
    Unexpected {
        /// The call's name.
        call: &'static str,
        /// The status of the answer.
        status: u16,
        /// What is wrong or what Mosaic said, cut and cleaned.
        message: String,
    },
}

impl Error {
    /// Whether the answer is about the user alone: nothing is wrong with Mosaic, the way there, or our client.
    pub const fn is_about_the_user(&self) -> bool {
        matches!(
            self,
            Self::UserNotFound
                | Self::UserNotActive
                | Self::SignUpNotAllowed
                | Self::NoAddress
                | Self::NotInOrganization
        )
    }

    /// Whether Mosaic did not take the call from our client at all: what the call was about is as it was.
    pub const fn is_about_our_client(&self) -> bool {
        matches!(
            self,
            Self::Setup(_)
                | Self::ClientCredentials { .. }
                | Self::ClientAssertion
                | Self::NotPermitted
                | Self::AppNotFound
        )
    }

    /// Whether the same call may well succeed later.
    pub const fn is_transient(&self) -> bool {
        self.is_outage() || matches!(self, Self::CircuitOpen { .. } | Self::RateLimited { .. })
    }

    /// Whether Mosaic was asked and was out of reach or broken.
    pub(super) const fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut | Self::ServerFault { .. })
    }
}

/// The transport's failure as ours. Its URL can hold a mail address and is dropped.
impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            Self::TimedOut
        } else if error.is_builder() {
            Self::Setup(Arc::new(error))
        } else {
            Self::Unreachable(Arc::new(error))
        }
    }
}

/// A readable answer that is not a success.
#[derive(Debug)]
pub(super) struct Refusal {
    call: &'static str,
    pub(super) status: u16,
    retry_after: Option<Duration>,
    /// `error_code` or `error` where it is a word, in lower case.
    code: String,
    message: String,
    /// Whether the body was one of Mosaic's shapes, rather than some web server's page.
    is_of_mosaic: bool,
}

impl Refusal {
    /// Reads whichever of the four shapes the body has.
    pub(super) fn read(call: &'static str, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let said = text(&body["message"]).or_else(|| text(&body["error_description"]));
        let code = body["error_code"].as_str().or_else(|| body["error"].as_str());
        let word = code.filter(|code| code.parse::<u16>().is_err());
        Self {
            call,
            status,
            retry_after,
            code: word.unwrap_or_default().to_ascii_lowercase(),
            is_of_mosaic: said.is_some() || code.is_some() || body["error_code"].is_number(),
            message: said.unwrap_or_default(),
        }
    }

    /// What the refusal means wherever it comes from; calls look first for what it means to them.
    pub(super) fn into_error(self) -> Error {
        match self.status {
            429 => Error::RateLimited { retry_after: self.retry_after },
            500..=599 => Error::ServerFault { status: self.status },
            403 if self.says(&["signup", "sign-up", "sign up"]) => Error::SignUpNotAllowed,
            400 | 403 | 404 if self.says(&["not active", "not_active"]) => Error::UserNotActive,
            403 if self.says(&["organization", "organisation", "org_id"]) => Error::NotInOrganization,
            403 => Error::NotPermitted,
            400 if self.says(&["redirect_uri", "redirect uri"]) => Error::RedirectUriNotAllowed,
            404 if self.says(&["app not found", "app_not_found", "application not found"]) => Error::AppNotFound,
            400 | 404 if self.says(&["user not found", "user_not_found"]) => Error::UserNotFound,
            400 | 404 if self.says(&["organization", "organisation", "org_id"]) => Error::NotInOrganization,
            400 | 404 if self.says(&["session not found", "session_not_found"]) => Error::SessionNotFound,
            400 | 404 | 409 | 410 | 422 if self.is_of_mosaic => {
                Error::Refused { call: self.call, status: self.status, message: self.shown() }
            }
            _ => self.unexpected(),
        }
    }

    /// The refusal of the token endpoint, whose 400 and 401 are about our client.
    pub(super) fn into_token_endpoint_error(self) -> Error {
        match self.status {
            400 if self.is_of_mosaic => Error::ClientCredentials { message: self.shown() },
            401 => Error::ClientCredentials { message: self.shown() },
            _ => self.into_error(),
        }
    }

    /// Whether code or message contains one of `words`.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| self.code.contains(word) || message.contains(word))
    }

    /// Whether Mosaic itself, not something before it, says that what the path names is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == 404 && self.is_of_mosaic && !self.says(&["app not found", "app_not_found"])
    }

    /// Whether what was to be ended has ended before.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.status, 400 | 404) && self.is_of_mosaic && !self.says(&["app not found", "app_not_found"])
    }

    fn unexpected(self) -> Error {
        Error::Unexpected { call: self.call, status: self.status, message: self.shown() }
    }

    fn shown(&self) -> String {
        let said = clean(&format!("{} {}", self.code, self.message));
        if said.is_empty() { "no message".to_owned() } else { said }
    }
}

/// A message is a string or an array of strings.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => Some(lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")),
        _ => None,
    }
}

/// A stranger's text made fit for a log line: one line of 200 characters without control characters, mail
/// addresses, or anything as long as a token.
fn clean(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let words = words.filter(|word| !word.is_empty()).map(|word| match word {
        address if address.contains('@') || address.contains("%40") => "[address]",
        long if long.len() > 60 => "[long]",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Error {
        Refusal::read("send", status, Some(Duration::from_secs(7)), body.as_bytes()).into_error()
    }

    /// Compares by what `Debug` shows, because a transport failure has no equality.
    fn check(status: u16, body: &str, expected: &Error) {
        assert_eq!(format!("{:?}", read(status, body)), format!("{expected:?}"), "{status} {body}");
    }

    #[test]
    fn the_status_decides_and_the_text_tells_apart() {
        let redirect = "redirect_uri is not one of the allowed redirect URIs configured for this app";
        check(400, &format!(r#"{{"error_code":"400","message":"{redirect}"}}"#), &Error::RedirectUriNotAllowed);
        check(400, &format!(r#"{{"error_code":400,"message":["{redirect}"]}}"#), &Error::RedirectUriNotAllowed);
        check(403, r#"{"message":"Public signup is not allowed for this application"}"#, &Error::SignUpNotAllowed);
        check(403, r#"{"error_code":"403","message":"User is not active"}"#, &Error::UserNotActive);
        check(403, r#"{"error_code":"user_not_active","message":"x"}"#, &Error::UserNotActive);
        check(400, r#"{"error_code":"400","message":"User is not active"}"#, &Error::UserNotActive);
        check(403, r#"{"error_code":403,"message":"Forbidden"}"#, &Error::NotPermitted);
        check(403, "<html>", &Error::NotPermitted);
        check(404, r#"{"error_code":"404","message":"App not found"}"#, &Error::AppNotFound);
        check(404, r#"{"error_code":"user_not_found","message":"x"}"#, &Error::UserNotFound);
        check(404, r#"{"error_code":404,"message":"User not found"}"#, &Error::UserNotFound);
        check(400, r#"{"error_code":"400","message":"Session not found"}"#, &Error::SessionNotFound);
        check(
            429,
            r#"{"message":"User not found"}"#,
            &Error::RateLimited { retry_after: Some(Duration::from_secs(7)) },
        );
        check(503, r#"{"message":"User not found"}"#, &Error::ServerFault { status: 503 });
    }

    #[test]
    fn what_is_unknown_is_kept_short_and_clean() {
        let unexpected =
            |status, message: &str| Error::Unexpected { call: "send", status, message: message.to_owned() };
        check(418, "", &unexpected(418, "no message"));
        check(302, "<html>moved</html>", &unexpected(302, "no message"));
        check(400, "null", &unexpected(400, "no message"));
        check(400, "[1,2]", &unexpected(400, "no message"));
        check(400, r#"{"message":{"a":1},"error_code":[]}"#, &unexpected(400, "no message"));
        check(418, r#"{"message":["a","b",3]}"#, &unexpected(418, "a; b"));
        let refused = |status, message: &str| Error::Refused { call: "send", status, message: message.to_owned() };
        check(400, r#"{"message":["a","b",3]}"#, &refused(400, "a; b"));
        check(404, r#"{"message":"Device not found","error_code":404}"#, &refused(404, "Device not found"));
        check(400, r#"{"error":"invalid_grant","error_description":"gone"}"#, &refused(400, "invalid_grant gone"));
        check(400, "{\"message\":\"a\\r\\nb\\u0000 ada@example.com\"}", &refused(400, "a b [address]"));
        check(400, &format!(r#"{{"message":"code {}"}}"#, "x".repeat(61)), &refused(400, "code [long]"));
        let Error::Refused { message, .. } = read(400, &format!(r#"{{"message":"{}"}}"#, "ab ".repeat(500))) else {
            unreachable!("a plain 400 has no meaning of its own")
        };
        assert_eq!(message.chars().count(), 200);
    }

    #[test]
    fn the_token_endpoint_speaks_of_our_client() {
        let read = |status, body: &str| {
            let error = Refusal::read("token", status, None, body.as_bytes()).into_token_endpoint_error();
            matches!(error, Error::ClientCredentials { .. })
        };
        assert!(read(401, r#"{"error":"invalid_client","error_description":"client authentication failed"}"#));
        assert!(read(400, r#"{"message":"bad","error_code":400}"#));
        assert!(read(401, ""));
        assert!(!read(400, "<html>"));
        assert!(!read(404, r#"{"error":"invalid_client"}"#));
        assert!(!read(500, r#"{"error":"invalid_client"}"#));
    }

    #[test]
    fn only_passing_troubles_are_worth_a_later_try() {
        assert!(Error::TimedOut.is_transient());
        assert!(Error::RateLimited { retry_after: None }.is_transient());
        assert!(Error::CircuitOpen { retry_after: Duration::ZERO }.is_transient());
        assert!(Error::ServerFault { status: 500 }.is_transient());
        assert!(!Error::NotPermitted.is_transient());
        assert!(!Error::InvalidCode.is_transient());
    }
}
