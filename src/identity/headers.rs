//! An identity as the headers that tell an application who the visitor is.
//!
//! Values are made once, when a session is loaded; a request only copies references to them.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{ClaimPath, Claimed, Identity};

/// Identity headers larger than this together leave out their lists: the bound that common servers set for one field.
const MOST_BYTES: usize = 8 * 1024;

/// `[identity_headers]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The set of names to start from.
    pub preset: Preset,
    /// Names of one's own in place of the preset's; `""` leaves one out.
    pub names: BTreeMap<Attribute, String>,
    /// Further headers by their names, each with the claim that it tells.
    pub extra: BTreeMap<String, ClaimPath>,
}

/// Sets of header names that applications know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `X-Forwarded-User`, `-Email`, `-Groups`, `-Roles`, `-Preferred-Username`.
    #[default]
    XForwarded,
    /// `Remote-User`, `-Email`, `-Name`, `-Groups`.
    RemoteUser,
    /// `X-Auth-Request-User`, `-Email`, `-Groups`, `-Preferred-Username`.
    XAuthRequest,
}

impl Config {
    /// The header that tells `attribute`: the operator's own name for it, or the preset's.
    pub fn name(&self, attribute: Attribute) -> Option<&str> {
        match self.names.get(&attribute) {
            Some(name) => Some(name.as_str()).filter(|name| !name.is_empty()),
            None => self.preset.name(attribute),
        }
    }
}

impl Preset {
    /// All of them: their names are taken out of every request, whichever one is in use.
    pub const ALL: [Self; 3] = [Self::XForwarded, Self::RemoteUser, Self::XAuthRequest];

    /// The header that tells `attribute` in this set.
    pub const fn name(self, attribute: Attribute) -> Option<&'static str> {
        use Attribute::{Email, Groups, Name, PreferredUsername, Roles, User};
        match (self, attribute) {
            (Self::XForwarded, User) => Some("X-Forwarded-User"),
            (Self::XForwarded, Email) => Some("X-Forwarded-Email"),
            (Self::XForwarded, PreferredUsername) => Some("X-Forwarded-Preferred-Username"),
            (Self::XForwarded, Groups) => Some("X-Forwarded-Groups"),
            (Self::XForwarded, Roles) => Some("X-Forwarded-Roles"),
            (Self::RemoteUser, PreferredUsername) => Some("Remote-User"),
            (Self::RemoteUser, Email) => Some("Remote-Email"),
            (Self::RemoteUser, Name) => Some("Remote-Name"),
            (Self::RemoteUser, Groups) => Some("Remote-Groups"),
            (Self::XAuthRequest, User) => Some("X-Auth-Request-User"),
            (Self::XAuthRequest, Email) => Some("X-Auth-Request-Email"),
            (Self::XAuthRequest, PreferredUsername) => Some("X-Auth-Request-Preferred-Username"),
            (Self::XAuthRequest, Groups) => Some("X-Auth-Request-Groups"),
            (Self::XForwarded, Name) | (Self::RemoteUser, User | Roles) | (Self::XAuthRequest, Name | Roles) => None,
        }
    }
}

/// What can be told about a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The subject: the user's lasting name.
    User,
    /// The mail address.
    Email,
    /// The name to show.
    Name,
    /// The user name, or the address where there is none.
    PreferredUsername,
    /// Groups, joined by commas.
    Groups,
    /// Roles, joined by commas.
    Roles,
}

impl Attribute {
    /// Every one of them, in the order in which they go out: lists last.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Email, Self::Name, Self::PreferredUsername, Self::Groups, Self::Roles];

    /// As gateway.toml spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Email => "email",
            Self::Name => "name",
            Self::PreferredUsername => "preferred_username",
            Self::Groups => "groups",
            Self::Roles => "roles",
        }
    }
}

/// What one header tells.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Attribute(Attribute),
    Claim(ClaimPath),
}

/// Which header tells what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(Vec<(Told, HeaderName)>);

impl Plan {
    /// The preset's names with one's own in their place, and the further headers last.
    ///
    /// # Errors
    /// The first name of one's own that is not a header name.
    pub fn new(config: &Config) -> Result<Self, BadHeaderName> {
        let usual = Attribute::ALL.into_iter();
        let usual = usual.filter_map(|attribute| Some((Told::Attribute(attribute), config.name(attribute)?)));
        let extra = config.extra.iter().map(|(name, path)| (Told::Claim(path.clone()), name.as_str()));
        let parsed = usual.chain(extra).map(|(told, name)| {
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadHeaderName(name.to_owned()))?;
            Ok((told, parsed))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// The names that are ours on every request.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &HeaderName> {
        self.0.iter().map(|(_, name)| name)
    }

    /// The values of the headers for one visitor, each in the place of its name. An attribute the visitor lacks makes no
    /// header; lists that would take the whole beyond 8 KiB are left out rather than cut, because a cut list is another
    /// list.
    pub fn values(&self, identity: &Identity) -> Vec<Option<HeaderValue>> {
        let mut budget = MOST_BYTES;
        let value = |(told, name): &(Told, HeaderName)| {
            let value = told.value(identity)?;
            let size = name.as_str().len() + value.len();
            if size > budget {
                tracing::warn!(
                    header.name = name.as_str(),
                    header.bytes = size,
                    "left out an identity header: together they would pass 8 KiB"
                );
                return None;
            }
            budget -= size;
            Some(value)
        };
        self.0.iter().map(value).collect()
    }

    /// Values with their names.
    pub fn told(
        &self,
        values: impl Iterator<Item = Option<HeaderValue>>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.names().zip(values).filter_map(|(name, value)| Some((name.clone(), value?)))
    }

    /// The headers for one visitor.
    pub fn headers(&self, identity: &Identity) -> Vec<(HeaderName, HeaderValue)> {
        self.told(self.values(identity).into_iter()).collect()
    }
}

/// A name of one's own that no header can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a header name")]
pub struct BadHeaderName(pub String);

impl Told {
    fn value(&self, identity: &Identity) -> Option<HeaderValue> {
        match self {
            Self::Attribute(attribute) => attribute.value(identity),
            Self::Claim(path) => match identity.claimed(path)? {
                Claimed::One(text) => header_value(&encode(&text, false)),
                Claimed::Many(texts) => list_value(&texts),
            },
        }
    }
}

impl Attribute {
    fn value(self, identity: &Identity) -> Option<HeaderValue> {
        let email = identity.email.as_ref().map(super::EmailAddress::as_str);
        match self {
            Self::User => header_value(&encode(identity.subject.as_str(), false)),
            Self::Email => header_value(&encode(email?, false)),
            Self::Name => header_value(&encode(identity.name.as_deref()?, false)),
            Self::PreferredUsername => header_value(&encode(identity.username.as_deref().or(email)?, false)),
            Self::Groups => list_value(&identity.groups),
            Self::Roles => list_value(&identity.roles),
        }
    }
}

fn list_value(elements: &[String]) -> Option<HeaderValue> {
    let elements: Vec<String> =
        elements.iter().filter(|element| !element.is_empty()).map(|element| encode(element, true)).collect();
    header_value(&elements.join(","))
}

fn header_value(text: &str) -> Option<HeaderValue> {
    if text.is_empty() { None } else { HeaderValue::from_str(text).ok() }
}

/// Percent-encodes (RFC 3986 section 2.1) what a header cannot carry or a reader could mistake: controls, all beyond
/// ASCII, the percent sign, blanks at either end and, in an element of a list, the comma.
fn encode(text: &str, element: bool) -> String {
    let last = text.len().saturating_sub(1);
    let mut encoded = String::with_capacity(text.len());
    for (position, byte) in text.bytes().enumerate() {
        let plain = match byte {
            b'%' => false,
            b',' => !element,
            b' ' => position != 0 && position != last,
            _ => byte.is_ascii_graphic(),
        };
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::{EmailAddress, Subject};

    fn ada() -> Identity {
        Identity {
            email: Some(EmailAddress::parse("ada@example.com").unwrap()),
            email_verified: true,
            name: Some("Ada Lovelace".to_owned()),
            groups: vec!["ops".to_owned(), "a,b".to_owned()],
            ..Identity::new(Subject::try_from("u1".to_owned()).unwrap())
        }
    }

    fn headers(config: &Config, identity: &Identity) -> Vec<String> {
        let headers = Plan::new(config).unwrap().headers(identity);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn each_preset_has_its_names() {
        let with = |preset| headers(&Config { preset, ..Config::default() }, &ada());
        assert_eq!(
            with(Preset::XForwarded),
            [
                "x-forwarded-user: u1",
                "x-forwarded-email: ada@example.com",
                "x-forwarded-preferred-username: ada@example.com",
                "x-forwarded-groups: ops,a%2Cb",
            ]
        );
        assert_eq!(
            with(Preset::RemoteUser),
            [
                "remote-email: ada@example.com",
                "remote-name: Ada Lovelace",
                "remote-user: ada@example.com",
                "remote-groups: ops,a%2Cb",
            ]
        );
        assert_eq!(
            with(Preset::XAuthRequest),
            [
                "x-auth-request-user: u1",
                "x-auth-request-email: ada@example.com",
                "x-auth-request-preferred-username: ada@example.com",
                "x-auth-request-groups: ops,a%2Cb",
            ]
        );
    }

    #[test]
    fn own_names_replace_add_and_leave_out() {
        let names = [
            (Attribute::User, "X-User".to_owned()),
            (Attribute::Name, "X-Name".to_owned()),
            (Attribute::PreferredUsername, String::new()),
            (Attribute::Groups, String::new()),
        ];
        let config = Config { names: names.into(), ..Config::default() };
        assert_eq!(
            headers(&config, &ada()),
            ["x-user: u1", "x-forwarded-email: ada@example.com", "x-name: Ada Lovelace"]
        );
        let config = Config { names: [(Attribute::User, "no name".to_owned())].into(), ..Config::default() };
        assert_eq!(Plan::new(&config), Err(BadHeaderName("no name".to_owned())));
    }

    #[test]
    fn further_headers_tell_claims() {
        let config = "preset = 'remote-user'\nextra = { X-Team = 'custom_data.team', X-Sites = 'custom_data.sites', \
                      X-Organization = 'organization', X-Nothing = 'custom_data.nothing' }";
        let mut ada = ada();
        ada.organization = Some("org-1".to_owned());
        let data = serde_json::json!({"team": "R\r\nD", "sites": ["a,b", "c"]});
        ada.claims.insert("custom_data".to_owned(), data);
        let found = headers(&toml::from_str(config).unwrap(), &ada);
        assert_eq!(found[4..], ["x-organization: org-1", "x-sites: a%2Cb,c", "x-team: R%0D%0AD"]);
    }

    #[test]
    fn values_are_made_safe() {
        assert_eq!(encode("Zoë 山田", false), "Zo%C3%AB %E5%B1%B1%E7%94%B0");
        assert_eq!(encode("a\r\nX-Evil: 1", false), "a%0D%0AX-Evil: 1");
        assert_eq!(encode("100%", false), "100%25");
        assert_eq!(encode(" a b ", false), "%20a b%20");
        assert_eq!(encode("a,b", false), "a,b");
        assert_eq!(encode("a,b", true), "a%2Cb");
    }

    #[test]
    fn a_list_beyond_the_bound_is_left_out_whole() {
        let groups = (0..800).map(|number| format!("group-number-{number}")).collect();
        let found = headers(&Config::default(), &Identity { groups, roles: vec!["admin".to_owned()], ..ada() });
        assert!(!found.iter().any(|header| header.starts_with("x-forwarded-groups")));
        assert!(found.contains(&"x-forwarded-roles: admin".to_owned()));
    }

    #[test]
    fn what_the_visitor_lacks_makes_no_header() {
        let nobody = Identity { email: None, name: None, groups: vec![String::new()], ..ada() };
        assert_eq!(headers(&Config::default(), &nobody), ["x-forwarded-user: u1"]);
    }

    proptest! {
        #[test]
        fn encoding_loses_nothing_and_stays_printable(text in ".{0,40}") {
            let encoded = encode(&text, true);
            prop_assert!(encoded.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
            prop_assert!(!encoded.contains(','));
            let decoded = percent_decode(&encoded);
            prop_assert_eq!(decoded, text.into_bytes());
        }
    }

    fn percent_decode(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let pair = [bytes.next().unwrap(), bytes.next().unwrap()];
                decoded.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
            } else {
                decoded.push(byte);
            }
        }
        decoded
    }
}
