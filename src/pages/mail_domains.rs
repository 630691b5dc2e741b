//! What is known about the mail domains that most people use: where their mail is read, and how they are mistyped.

use serde::Serialize;

use crate::identity::EmailAddress;

/// Where a visitor reads mail in the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Webmail {
    /// The name that people know it by.
    pub name: &'static str,
    /// Its front page; nothing about the visitor is in it.
    pub url: &'static str,
}

const GMAIL: Webmail = Webmail { name: "Gmail", url: "https://mail.google.com/" };
const OUTLOOK: Webmail = Webmail { name: "Outlook", url: "https://outlook.live.com/mail/" };
const YAHOO: Webmail = Webmail { name: "Yahoo Mail", url: "https://mail.yahoo.com/" };
const ICLOUD: Webmail = Webmail { name: "iCloud Mail", url: "https://www.icloud.com/mail" };

impl Webmail {
    /// The web mail of an address, for the few domains where it is certain.
    pub fn of(address: &EmailAddress) -> Option<Self> {
        match address.domain() {
            "gmail.com" | "googlemail.com" => Some(GMAIL),
            "icloud.com" | "me.com" | "mac.com" => Some(ICLOUD),
            "outlook.com" | "hotmail.com" | "live.com" | "msn.com" => Some(OUTLOOK),
            domain if is_regional(domain, &["outlook.", "hotmail.", "live."]) => Some(OUTLOOK),
            domain if domain == "ymail.com" || is_regional(domain, &["yahoo."]) => Some(YAHOO),
            _ => None,
        }
    }
}

/// `yahoo.de`, `hotmail.co.uk`: a known name with a country's ending, and no other domain such as `live.example.org`.
fn is_regional(domain: &str, names: &[&str]) -> bool {
    let ending = names.iter().find_map(|name| domain.strip_prefix(name));
    let country = |text: &str| text.len() == 2;
    ending.is_some_and(|ending| match ending.split_once('.') {
        None => country(ending) || ending == "com",
        Some((second, last)) => matches!(second, "co" | "com") && country(last),
    })
}

/// Domains that are long enough for one wrong letter to be a likely slip.
const OFTEN_MISTYPED: &[&str] = &[
    "gmail.com",
    "googlemail.com",
    "hotmail.com",
    "icloud.com",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "yahoo.com",
];
/// Domains with mail of their own, one letter away from those.
const REAL_NEIGHBOURS: &[&str] =
    &["email.com", "ymail.com", "mail.com", "gmail.de", "hotmail.co", "yahoo.co", "gmx.com"];
/// Endings that no domain has, one slip away from `.com`.
const SLIPS_OF_COM: &[&str] = &["con", "cmo", "ocm", "vom", "xom", "cpm", "coom", "comm"];

/// The address that was probably meant, where the domain looks mistyped. Only ever a hint.
pub fn suggestion(address: &EmailAddress) -> Option<EmailAddress> {
    let domain = likely_domain(address.domain())?;
    let local = address.as_str().split_once('@').map(|(local, _)| local)?;
    EmailAddress::parse(&format!("{local}@{domain}")).ok()
}

fn likely_domain(domain: &str) -> Option<String> {
    if OFTEN_MISTYPED.contains(&domain) || REAL_NEIGHBOURS.contains(&domain) {
        return None;
    }
    let near = |known: &&&str| strsim::osa_distance(domain, known) == 1;
    if let Some(known) = OFTEN_MISTYPED.iter().find(near) {
        return Some((*known).to_owned());
    }
    let (name, ending) = domain.rsplit_once('.')?;
    SLIPS_OF_COM.contains(&ending).then(|| format!("{name}.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(domain: &str) -> EmailAddress {
        EmailAddress::parse(&format!("ada@{domain}")).expect("the address is well formed")
    }

    #[test]
    fn web_mail_is_offered_where_it_is_certain() {
        let check = |domain: &str, expected: Option<&str>| {
            assert_eq!(Webmail::of(&address(domain)).map(|webmail| webmail.name), expected, "{domain}");
        };
        check("gmail.com", Some("Gmail"));
        check("outlook.de", Some("Outlook"));
        check("hotmail.co.uk", Some("Outlook"));
        check("yahoo.com", Some("Yahoo Mail"));
        check("yahoo.com.br", Some("Yahoo Mail"));
        check("me.com", Some("iCloud Mail"));
        check("example.com", None);
        check("yahoo.example.com", None);
        check("live.company.com", None);
        check("notgmail.com", None);
    }

    #[test]
    fn web_mail_links_say_nothing_about_the_visitor() {
        for webmail in [GMAIL, OUTLOOK, YAHOO, ICLOUD] {
            assert!(webmail.url.starts_with("https://") && !webmail.url.contains(['@', '?', '#']), "{}", webmail.url);
        }
    }

    #[test]
    fn a_likely_slip_gets_a_hint() {
        let check = |domain: &str, expected: Option<&str>| {
            let found = suggestion(&address(domain));
            assert_eq!(found.map(String::from), expected.map(|domain| format!("ada@{domain}")), "{domain}");
        };
        check("gmial.com", Some("gmail.com"));
        check("gmail.con", Some("gmail.com"));
        check("gmai.com", Some("gmail.com"));
        check("hotmial.com", Some("hotmail.com"));
        check("yaho.com", Some("yahoo.com"));
        check("outlok.com", Some("outlook.com"));
        check("example.con", Some("example.com"));
        for fine in
            ["gmail.com", "ymail.com", "email.com", "mail.com", "example.com", "yahoo.ca", "hotmail.fr", "me.com"]
        {
            check(fine, None);
        }
    }
}
