//! What a session in memory knows beyond what its requests need, in one piece: as strings of its own each, it would take
//! up several times its text.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Session;
use super::cache::Moments;
use crate::identity::{EmailAddress, Identity, Subject};

/// A session without its moments, as JSON without names.
pub(super) struct Packed(Zeroizing<Box<[u8]>>);

/// In the order in which they are packed.
type Fields = (
    Subject,
    Option<EmailAddress>,
    bool,
    Option<String>,
    Option<String>,
    Vec<String>,
    Vec<String>,
    Option<String>,
    Vec<String>,
    Option<String>,
    Map<String, Value>,
    String,
    Option<String>,
    Option<String>,
);

impl Packed {
    pub(super) fn new(session: &Session) -> Self {
        // Every field is named, so that none can be added and forgotten here.
        let Session {
            identity,
            mosaic_session,
            refresh_token,
            organization: asked_for,
            signed_in_at: _,
            expires_at: _,
            access_expires_at: _,
            renew_at: _,
        } = session;
        let Identity {
            subject,
            email,
            email_verified,
            name,
            username,
            groups,
            roles,
            phone_number,
            permissions,
            organization,
            claims,
        } = identity;
        let fields = (
            subject,
            email,
            email_verified,
            name,
            username,
            groups,
            roles,
            phone_number,
            permissions,
            organization,
            claims,
            mosaic_session,
            refresh_token,
            asked_for,
        );
        let written = Zeroizing::new(serde_json::to_vec(&fields).expect("a session has string keys only"));
        // A copy, because what grew while it was written has room to spare.
        Self(Zeroizing::new(Box::from(written.as_slice())))
    }

    /// The session, with its moments.
    pub(super) fn unpack(&self, moments: &Moments) -> Session {
        let fields: Fields = serde_json::from_slice(&self.0).expect("what was packed can be unpacked");
        let (subject, email, email_verified, name, username, groups, roles, phone_number, permissions, ..) = fields;
        let (.., organization, claims, mosaic_session, refresh_token, asked_for) = fields;
        Session {
            identity: Identity {
                subject,
                email,
                email_verified,
                name,
                username,
                groups,
                roles,
                phone_number,
                permissions,
                organization,
                claims,
            },
            signed_in_at: moments.signed_in_at,
            expires_at: moments.expires_at,
            mosaic_session,
            refresh_token,
            access_expires_at: moments.access_expires_at,
            renew_at: Some(moments.renew_at),
            organization: asked_for,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    fn check(session: &Session) {
        let moments = Moments::of(session);
        let unpacked = Packed::new(session).unpack(&moments);
        let mut expected = session.clone();
        expected.renew_at = Some(moments.renew_at);
        assert_eq!(serde_json::to_value(&unpacked).unwrap(), serde_json::to_value(&expected).unwrap());
    }

    #[test]
    fn what_is_packed_comes_back_whole() {
        let start = Timestamp::from_unix_seconds(1_000);
        let hours = |hours: u64| start.plus(Duration::from_secs(3600 * hours));
        let bare = Session {
            identity: Identity::new(Subject::try_from("u1".to_owned()).unwrap()),
            signed_in_at: start,
            expires_at: hours(9),
            mosaic_session: "s1".to_owned(),
            refresh_token: None,
            access_expires_at: hours(1),
            renew_at: None,
            organization: None,
        };
        check(&bare);
        let list = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let claims = json!({"custom_data": {"team": "R&D", "level": 3, "sites": ["a", null], "share": 0.1}});
        let full = Identity {
            email: Some(EmailAddress::parse("ada@example.com").unwrap()),
            email_verified: true,
            name: Some("Ada \"山田\" Lovelace".to_owned()),
            username: Some("ada".to_owned()),
            groups: list(["ops", "on, call"]),
            roles: list(["admin", ""]),
            phone_number: Some("+49 1".to_owned()),
            permissions: list(["read", "write"]),
            organization: Some("org-1".to_owned()),
            claims: claims.as_object().unwrap().clone(),
            ..bare.identity.clone()
        };
        check(&Session {
            identity: full,
            signed_in_at: start,
            expires_at: hours(9),
            mosaic_session: "s1".to_owned(),
            refresh_token: Some("r1".to_owned()),
            access_expires_at: hours(3),
            renew_at: Some(hours(2)),
            organization: Some("org-2".to_owned()),
        });
    }
}
