//! What a visitor is asked for to sign in: a mail address, or another name that Mosaic knows its users by.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BadAddress, EmailAddress, Subject};

/// The kinds of names that Mosaic finds a user by (`identifier_type` of its login calls).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IdentifierKind {
    /// The primary mail address.
    #[default]
    Email,
    /// The primary phone number.
    PhoneNumber,
    /// The lasting name that Mosaic gave.
    UserId,
    /// The user name.
    Username,
    /// An identifier that the tenant defined itself.
    Custom(String),
}

impl IdentifierKind {
    /// As Mosaic's calls and gateway.toml spell it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email => "email",
            Self::PhoneNumber => "phone_number",
            Self::UserId => "user_id",
            Self::Username => "username",
            Self::Custom(name) => name,
        }
    }

    /// Reads what a person typed into the field of this kind; blanks around it do not count.
    ///
    /// # Errors
    /// When it cannot be an identifier of this kind.
    pub fn read(&self, text: &str) -> Result<Identifier, BadIdentifier> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadIdentifier::Empty);
        }
        let value = match self {
            Self::Email => return Ok(Identifier::Email(EmailAddress::parse(text).map_err(BadIdentifier::Address)?)),
            Self::PhoneNumber => phone_number(text).ok_or(BadIdentifier::PhoneNumber)?,
            Self::UserId => Subject::try_from(text.to_owned()).map_err(|_| BadIdentifier::Name)?.into(),
            Self::Username | Self::Custom(_) => name(text).ok_or(BadIdentifier::Name)?,
        };
        Ok(Identifier::Other { kind: self.clone(), value })
    }
}

/// A phone number in the one form that is compared and sent (E.164): punctuation that people put into it goes.
fn phone_number(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|character| !matches!(character, ' ' | '-' | '.' | '(' | ')')).collect();
    let digits = plain.strip_prefix('+')?;
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !digits.starts_with('0')).then_some(plain)
}

/// A name of at most 254 bytes without control characters: what it may hold beyond that is the tenant's to say.
fn name(text: &str) -> Option<String> {
    (text.len() <= 254 && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

impl TryFrom<String> for IdentifierKind {
    type Error = BadKind;

    fn try_from(text: String) -> Result<Self, BadKind> {
        Ok(match text.as_str() {
            "email" => Self::Email,
            "phone_number" => Self::PhoneNumber,
            "user_id" => Self::UserId,
            "username" => Self::Username,
            _ => {
                let is_name = (1..=64).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
                if !is_name {
                    return Err(BadKind);
                }
                Self::Custom(text)
            }
        })
    }
}

impl From<IdentifierKind> for String {
    fn from(kind: IdentifierKind) -> Self {
        kind.as_str().to_owned()
    }
}

/// Not the name of a kind of identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"email\", \"phone_number\", \"user_id\", \"username\", or the name of a custom identifier")]
pub struct BadKind;

/// What somebody typed to be found by, in the one form that is compared, stored and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Identifier {
    /// A mail address: mail goes there, and the identity that comes back must have it.
    Email(EmailAddress),
    /// Any other name: Mosaic finds the user, and the identity that comes back must be that user.
    Other {
        /// Which kind of name.
        kind: IdentifierKind,
        /// The name.
        value: String,
    },
}

impl Identifier {
    /// Which kind of name it is.
    pub fn kind(&self) -> &str {
        match self {
            Self::Email(_) => "email",
            Self::Other { kind, .. } => kind.as_str(),
        }
    }

    /// The name itself.
    pub fn value(&self) -> &str {
        match self {
            Self::Email(address) => address.as_str(),
            Self::Other { value, .. } => value,
        }
    }

    /// The mail address, where it is one.
    pub const fn email(&self) -> Option<&EmailAddress> {
        match self {
            Self::Email(address) => Some(address),
            Self::Other { .. } => None,
        }
    }

    /// Whether codes go to a phone rather than into a mailbox.
    pub const fn is_phone_number(&self) -> bool {
        matches!(self, Self::Other { kind: IdentifierKind::PhoneNumber, .. })
    }

    /// What limits count by: everything that leads to one mailbox is one.
    pub fn budget(&self) -> String {
        match self {
            Self::Email(address) => address.mailbox(),
            Self::Other { kind, value } => format!("{}:{}", kind.as_str(), value.to_lowercase()),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.value())
    }
}

/// Why a text is not an identifier of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentifier {
    /// Nothing was typed.
    #[error("nothing was typed")]
    Empty,
    /// Not a mail address.
    #[error(transparent)]
    Address(BadAddress),
    /// Not an international phone number.
    #[error("a phone number begins with + and its country, like +12025550123")]
    PhoneNumber,
    /// Too long, with characters that no name has, or not of the form that names have here.
    #[error("a name has at most 254 printable characters, and the form that `sign_in.pattern` gives")]
    Name,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(name: &str) -> IdentifierKind {
        IdentifierKind::try_from(name.to_owned()).expect("the kind is well formed")
    }

    #[test]
    fn what_is_typed_is_read_by_its_kind() {
        let check = |name: &str, text: &str, expected: Result<&str, BadIdentifier>| {
            let found = kind(name).read(text).map(|identifier| {
                assert_eq!(identifier.kind(), name);
                identifier.value().to_owned()
            });
            assert_eq!(found, expected.map(str::to_owned), "{name} {text:?}");
        };
        check("email", " Ada@Example.com ", Ok("ada@example.com"));
        check("email", "ada", Err(BadIdentifier::Address(BadAddress::Incomplete)));
        check("email", "  ", Err(BadIdentifier::Empty));
        check("phone_number", "+1 (202) 555-0123", Ok("+12025550123"));
        check("phone_number", "202 555 0123", Err(BadIdentifier::PhoneNumber));
        check("phone_number", "+0123456789", Err(BadIdentifier::PhoneNumber));
        check("phone_number", "+123456", Err(BadIdentifier::PhoneNumber));
        check("phone_number", "+1234567890123456", Err(BadIdentifier::PhoneNumber));
        check("phone_number", "+12025550123;x", Err(BadIdentifier::PhoneNumber));
        check("user_id", "idbn9b76ybkehu8uio0zo", Ok("idbn9b76ybkehu8uio0zo"));
        check("user_id", "a b", Err(BadIdentifier::Name));
        check("username", " Zoë 山田 ", Ok("Zoë 山田"));
        check("member-id", "A/17", Ok("A/17"));
        check("username", "a\r\nb", Err(BadIdentifier::Name));
        check("username", &"a".repeat(255), Err(BadIdentifier::Name));
    }

    #[test]
    fn kinds_are_names() {
        for name in ["email", "phone_number", "user_id", "username", "member_id"] {
            assert_eq!(String::from(kind(name)), name);
        }
        for wrong in ["", "member id", "a\"b", "é"] {
            assert_eq!(IdentifierKind::try_from(wrong.to_owned()), Err(BadKind));
        }
        assert_eq!(kind("member_id"), IdentifierKind::Custom("member_id".to_owned()));
    }

    #[test]
    fn an_address_is_kept_as_before_there_were_others() {
        let address = kind("email").read("ada@example.com").unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), "\"ada@example.com\"");
        let other = kind("username").read("ada").unwrap();
        for identifier in [address, other] {
            let kept = serde_json::to_string(&identifier).unwrap();
            assert_eq!(serde_json::from_str::<Identifier>(&kept).unwrap(), identifier);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_a_fixed_point(text in "\\PC{0,30}|\\+[0-9 ()-]{0,20}") {
            for name in ["email", "phone_number", "user_id", "username"] {
                if let Ok(identifier) = kind(name).read(&text) {
                    prop_assert_eq!(kind(name).read(identifier.value()), Ok(identifier.clone()));
                }
            }
        }
    }
}
