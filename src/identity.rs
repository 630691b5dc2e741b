//! Who someone is, as types: subject, mail address, identity, and the rules that name addresses.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod claim;
pub mod headers;
mod identifier;

pub use claim::{BadClaimPath, ClaimPath, Claimed};
pub use identifier::{BadIdentifier, BadKind, Identifier, IdentifierKind};

/// The name that Mosaic or the issuer gave a user for good (`sub` of their tokens).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

impl TryFrom<String> for Subject {
    type Error = BadSubject;

    fn try_from(text: String) -> Result<Self, BadSubject> {
        // RFC 7519 leaves `sub` open and OpenID Connect Core section 2 bounds it: 255 ASCII characters.
        let fine = !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fine { Ok(Self(text)) } else { Err(BadSubject) }
    }
}

/// A subject that is empty, longer than 255 characters, or not printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to 255 printable ASCII characters")]
pub struct BadSubject;

/// A mail address in the one form that is compared, stored and sent to.
///
/// A dot-atom local part and a domain of at least two labels, in lower case, the domain in its ASCII form
/// (RFC 5321 sections 4.1.2 and 4.5.3.1, UTS 46). Quotes, comments, lists, address literals and local parts
/// beyond ASCII are refused: what is shown, matched and mailed must be one string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address as a person typed it; blanks around it do not count.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let (local, domain) = text.trim_matches(' ').split_once('@').ok_or(BadAddress::Incomplete)?;
        let domain = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3)
            .map_err(|_| BadAddress::Domain)?
            .into_owned();
        if !is_dot_atom(local) || local.len() > 64 {
            return Err(BadAddress::LocalPart);
        }
        if !is_mail_domain(&domain) {
            return Err(BadAddress::Domain);
        }
        let address = format!("{}@{domain}", local.to_ascii_lowercase());
        if address.len() > 254 {
            return Err(BadAddress::TooLong);
        }
        Ok(Self(address))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the at sign.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }

    /// The mailbox that the address leads to: without the tag that many systems cut off (`ada+news@…`).
    /// Limits count by it; accounts are never matched by it.
    pub fn mailbox(&self) -> String {
        let (local, domain) = self.0.split_once('@').unwrap_or((&self.0, ""));
        let untagged = local.split_once('+').map_or(local, |(before, _)| before);
        format!("{untagged}@{domain}")
    }
}

/// `atext` of RFC 5322 section 3.2.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

fn is_mail_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    domain.contains('.') && domain.split('.').all(label) && !top.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Self, BadAddress> {
        Self::parse(&text)
    }
}

/// Why a text is not a mail address that linkgate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// There is no at sign.
    #[error("a mail address has the form name@example.com")]
    Incomplete,
    /// The part before the at sign is not a dot-atom of at most 64 ASCII characters.
    #[error("the part before the @ is not a plain name")]
    LocalPart,
    /// The part behind the at sign is not a domain name of two labels or more.
    #[error("the part behind the @ is not a domain name")]
    Domain,
    /// More than 254 characters.
    #[error("a mail address has at most 254 characters")]
    TooLong,
}

/// Names addresses in a list of who may do something: `"*"`, `"@example.com"` or `"ada@example.com"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AddressRule {
    /// Every address.
    Anyone,
    /// Every address of exactly this domain; its sub-domains are others.
    Domain(String),
    /// This address.
    Address(EmailAddress),
}

impl AddressRule {
    /// Whether the rule names `address`.
    pub fn names(&self, address: &EmailAddress) -> bool {
        match self {
            Self::Anyone => true,
            Self::Domain(domain) => address.domain() == domain,
            Self::Address(named) => address == named,
        }
    }
}

impl TryFrom<String> for AddressRule {
    type Error = BadAddressRule;

    fn try_from(text: String) -> Result<Self, BadAddressRule> {
        if text == "*" {
            return Ok(Self::Anyone);
        }
        match text.strip_prefix('@') {
            // The domain is read by the same rules as in an address, so both are compared in one form.
            Some(domain) if !domain.contains('@') => EmailAddress::parse(&format!("x@{domain}"))
                .map(|address| Self::Domain(address.domain().to_owned()))
                .map_err(|_| BadAddressRule),
            _ => EmailAddress::parse(&text).map(Self::Address).map_err(|_| BadAddressRule),
        }
    }
}

impl From<AddressRule> for String {
    fn from(rule: AddressRule) -> Self {
        match rule {
            AddressRule::Anyone => "*".to_owned(),
            AddressRule::Domain(domain) => format!("@{domain}"),
            AddressRule::Address(address) => address.into(),
        }
    }
}

/// A rule that is neither `*`, nor a domain behind an at sign, nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"*\", a domain like \"@example.com\", or an address like \"ada@example.com\"")]
pub struct BadAddressRule;

/// What is known about a signed-in visitor. All of it was verified when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's lasting name.
    pub subject: Subject,
    /// The address, where the user has one.
    pub email: Option<EmailAddress>,
    /// Whether the user has shown to receive mail at `email`.
    pub email_verified: bool,
    /// The name to show.
    pub name: Option<String>,
    /// The user name, where the tenant has them.
    pub username: Option<String>,
    /// Groups, in the order in which they were given.
    pub groups: Vec<String>,
    /// Roles, in the order in which they were given.
    pub roles: Vec<String>,
    /// The phone number, where it was asked for.
    #[serde(default)]
    pub phone_number: Option<String>,
    /// Permissions, where they were asked for.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// The organisation that was signed in to, where there is one.
    #[serde(default)]
    pub organization: Option<String>,
    /// Further claims that headers and rules were configured with, as they came.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl Identity {
    /// Somebody of whom nothing but the subject is known.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            email: None,
            email_verified: false,
            name: None,
            username: None,
            groups: Vec::new(),
            roles: Vec::new(),
            phone_number: None,
            permissions: Vec::new(),
            organization: None,
            claims: Map::new(),
        }
    }

    /// The address, where the user has shown to receive mail there.
    pub fn proven_address(&self) -> Option<&EmailAddress> {
        self.email.as_ref().filter(|_| self.email_verified)
    }

    /// What they are known by on a page: the address, or else a name.
    pub fn shown_name(&self) -> String {
        let address = self.email.as_ref().map(ToString::to_string);
        address.or_else(|| self.name.clone()).unwrap_or_else(|| self.subject.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(input: &str, expected: Result<&str, BadAddress>) {
        assert_eq!(EmailAddress::parse(input).map(String::from), expected.map(str::to_owned), "{input:?}");
    }

    #[test]
    fn addresses_are_read_into_one_form() {
        check("ada@example.com", Ok("ada@example.com"));
        check("  Ada.Lovelace+x@Example.COM ", Ok("ada.lovelace+x@example.com"));
        check("ada@bücher.example", Ok("ada@xn--bcher-kva.example"));
        check("ada@a-b.example", Ok("ada@a-b.example"));
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        use BadAddress::{Domain, Incomplete, LocalPart, TooLong};
        check("", Err(Incomplete));
        check("ada", Err(Incomplete));
        check("@example.com", Err(LocalPart));
        check("ada@", Err(Domain));
        check("ada@example", Err(Domain));
        check("ada@example.com@evil.test", Err(Domain));
        check("\"ada\"@example.com", Err(LocalPart));
        check("ada..b@example.com", Err(LocalPart));
        check(".ada@example.com", Err(LocalPart));
        check("ada(x)@example.com", Err(LocalPart));
        check("ada,bob@example.com", Err(LocalPart));
        check("a b@example.com", Err(LocalPart));
        check("zoë@example.com", Err(LocalPart));
        check("ada@[127.0.0.1]", Err(Domain));
        check("ada@127.0.0.1", Err(Domain));
        check("ada@example.com\r\nBcc: x@y.test", Err(Domain));
        check("ada\u{0}@example.com", Err(LocalPart));
        check("ada@-x.example", Err(Domain));
        check("ada@example.com.", Err(Domain));
        check(&format!("{}@example.com", "a".repeat(65)), Err(LocalPart));
        check(&format!("a@{}.com", ["b".repeat(60).as_str(); 5].join(".")), Err(TooLong));
    }

    #[test]
    fn a_mailbox_has_no_tag() {
        let mailbox = |text| EmailAddress::parse(text).map(|address| address.mailbox());
        assert_eq!(mailbox("Ada+news@example.com"), Ok("ada@example.com".to_owned()));
        assert_eq!(mailbox("ada@example.com"), Ok("ada@example.com".to_owned()));
    }

    #[test]
    fn rules_name_whole_domains_and_addresses() {
        let names = |rule: &str, address: &str| {
            AddressRule::try_from(rule.to_owned())
                .expect("the rule is well formed")
                .names(&EmailAddress::parse(address).expect("the address is well formed"))
        };
        assert!(names("*", "ada@example.com"));
        assert!(names("@Example.com", "ada@example.com"));
        assert!(!names("@example.com", "ada@sub.example.com"));
        assert!(!names("@example.com", "ada@evilexample.com"));
        assert!(names("Ada@example.com", "ada@example.com"));
        assert!(!names("ada@example.com", "bob@example.com"));
        for wrong in ["", "@", "example.com", "@@example.com", "a@b@c.test"] {
            assert_eq!(AddressRule::try_from(wrong.to_owned()), Err(BadAddressRule), "{wrong:?}");
        }
    }

    #[test]
    fn subjects_are_printable_and_bounded() {
        assert!(Subject::try_from("u1".to_owned()).is_ok());
        for wrong in [String::new(), "a b".into(), "a\r\nb".into(), "é".into(), "x".repeat(256)] {
            assert_eq!(Subject::try_from(wrong), Err(BadSubject));
        }
    }

    proptest! {
        #[test]
        fn an_accepted_address_is_a_fixed_point(text in "\\PC{0,20}@\\PC{0,20}") {
            if let Ok(address) = EmailAddress::parse(&text) {
                prop_assert_eq!(EmailAddress::parse(address.as_str()), Ok(address.clone()));
                prop_assert!(address.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(address.as_str().matches('@').count(), 1);
            }
        }
    }
}
