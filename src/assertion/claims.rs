//! What an assertion says (RFC 7519 section 4).

use serde::Serialize;

use crate::clock::Timestamp;
use crate::credential::Visitor;

/// The claims. Lists are absent only where they would have made the header too long; without an element they are empty.
#[derive(Clone, Serialize)]
pub(super) struct Claims<'a> {
    pub(super) iss: &'a str,
    pub(super) aud: &'a str,
    pub(super) sub: &'a str,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    /// When the visitor last proved who they are.
    auth_time: i64,
    /// The same for all assertions of a session, and leads nobody to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    /// The subject once more, as Pomerium calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(
        issuer: &'a str,
        audience: &'a str,
        visitor: &'a Visitor,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        let identity = visitor.identity();
        let email = identity.email.as_ref().map(crate::identity::EmailAddress::as_str);
        Self {
            iss: issuer,
            aud: audience,
            sub: identity.subject.as_str(),
            iat: now.unix_seconds(),
            nbf: now.unix_seconds(),
            exp: expires_at.unix_seconds(),
            auth_time: visitor.signed_in_at().unix_seconds(),
            sid: visitor.session().map(|live| live.reference()),
            email,
            email_verified: email.map(|_| identity.email_verified),
            name: identity.name.as_deref(),
            preferred_username: identity.username.as_deref().or(email),
            groups: Some(&identity.groups),
            roles: Some(&identity.roles),
            user: None,
        }
    }

    pub(super) fn with_user(self) -> Self {
        Self { user: Some(self.sub), ..self }
    }

    /// The same without lists: a cut list would be another list.
    pub(super) fn without_lists(&self) -> Self {
        Self { groups: None, roles: None, ..self.clone() }
    }

    /// The same without anything that others chose the length of.
    pub(super) fn without_names(&self) -> Self {
        Self { name: None, preferred_username: None, ..self.without_lists() }
    }
}
