//! Mail addresses: what is shown, matched and mailed is one string.

use crate::text;
use linkgate::identity::{AddressRule, EmailAddress};

/// Panics where that does not hold.
pub fn check(input: &[u8]) {
    let text = text(input);
    let rule = AddressRule::try_from(text.to_owned());
    if let Ok(rule) = &rule {
        let written = String::from(rule.clone());
        assert_eq!(AddressRule::try_from(written).as_ref(), Ok(rule), "a fixed point");
    }
    let Ok(address) = EmailAddress::parse(text) else { return };
    assert_eq!(EmailAddress::parse(address.as_str()).as_ref(), Ok(&address), "a fixed point");
    assert!(address.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{address}");
    assert!(!address.as_str().contains(['"', '(', ')', '<', '>', ',', ';', ':', '\\', '[', ']']), "{address}");
    let (local, domain) = address.as_str().split_once('@').expect("an address has an at sign");
    assert!((1..=64).contains(&local.len()) && address.as_str().len() <= 254, "{address}");
    assert_eq!(address.domain(), domain);
    assert!(domain.contains('.') && !domain.contains('@') && !domain.starts_with('.') && !domain.ends_with('.'));
    let mailbox = address.mailbox();
    assert!(mailbox.ends_with(&format!("@{domain}")) && !mailbox.contains('+'), "{mailbox}");

    let names = |rule: &str| AddressRule::try_from(rule.to_owned()).is_ok_and(|rule| rule.names(&address));
    assert!(names("*") && names(address.as_str()) && names(&format!("@{domain}")));
    assert!(!names(&format!("@x.{domain}")) && !names(&format!("x{address}")));
    if let Some((_, parent)) = domain.split_once('.') {
        assert!(!names(&format!("@{parent}")), "sub-domains are others");
    }
}
