//! Browser and system out of a `User-Agent`: to tell families apart and to name them to people.

use std::fmt;

use serde::{Deserialize, Serialize};
use woothee::parser::Parser;

/// What a visitor's program calls itself, without versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The browser, or the first word that another program says of itself.
    pub browser: String,
    /// The system, where it is known.
    pub system: Option<String>,
}

/// The longest part of a `User-Agent` that is looked at, in bytes.
const MOST_BYTES: usize = 1024;

impl Agent {
    /// Reads a `User-Agent` (RFC 9110 section 10.1.5).
    pub fn parse(user_agent: Option<&str>) -> Self {
        let mut agent = Self::well_known(user_agent);
        if agent.browser.is_empty() {
            // Of other programs woothee knows only the kind; their own first word says more.
            let product = user_agent.unwrap_or_default().split(['/', ' ']).next().unwrap_or_default();
            agent.browser = product.chars().filter(char::is_ascii_graphic).take(40).collect();
        }
        agent
    }

    /// Well-known names and nothing else: in a mail, a word that a stranger wrote could lead somewhere. The browser is
    /// empty where it is not known.
    pub fn well_known(user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.unwrap_or_default();
        let found = Parser::new().parse(&user_agent[..user_agent.floor_char_boundary(MOST_BYTES)]);
        let known = |text: &str| (text != woothee::woothee::VALUE_UNKNOWN && !text.is_empty()).then(|| text.to_owned());
        let is_browser = |category: &str| matches!(category, "pc" | "smartphone" | "mobilephone" | "appliance");
        let browser = found.as_ref().filter(|found| is_browser(found.category)).and_then(|found| known(found.name));
        let system = found.and_then(|found| known(if found.os == "Mac OSX" { "macOS" } else { found.os }));
        Self { browser: browser.unwrap_or_default(), system }
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.browser.as_str(), &self.system) {
            ("", _) => f.write_str("an unknown program"),
            (browser, Some(system)) => write!(f, "{browser} on {system}"),
            (browser, None) => f.write_str(browser),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_user_agent_gives_more_than_a_short_name(
            text in "(Mozilla/5.0 )?\\PC{0,80}( Firefox/| Chrome/| Safari/)?\\PC{0,20}"
        ) {
            for Agent { browser, system } in [Agent::parse(Some(&text)), Agent::well_known(Some(&text))] {
                let is_short = |name: &str| name.len() <= 40 && !name.contains(char::is_control);
                prop_assert!(is_short(&browser) && system.is_none_or(|system| is_short(&system)));
            }
        }
    }

    #[test]
    fn browsers_are_told_apart_by_family() {
        let check = |user_agent: &str, expected: &str| {
            assert_eq!(Agent::parse(Some(user_agent)).to_string(), expected, "{user_agent}");
        };
        let chrome = "(KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
        check(&format!("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 {chrome}"), "Chrome on Linux");
        check(
            &format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 {chrome}"),
            "Chrome on Windows 10",
        );
        check("Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "Firefox on Linux");
        check("curl/8.5.0", "curl");
        check("", "an unknown program");
        check("Böse\u{7f}x/1 \r\n", "Bsex");
    }

    #[test]
    fn what_a_stranger_wrote_is_no_well_known_name() {
        let check = |user_agent: &str, browser: &str, system: Option<&str>| {
            let expected = Agent { browser: browser.to_owned(), system: system.map(str::to_owned) };
            assert_eq!(Agent::well_known(Some(user_agent)), expected, "{user_agent}");
        };
        check("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox", Some("Linux"));
        let safari = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15";
        check(&format!("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {safari}"), "Safari", Some("macOS"));
        for stranger in ["", "curl/8.5.0", "evil.test", "visit https://evil.test now", &"é".repeat(10_000)] {
            check(stranger, "", None);
        }
    }

    #[test]
    fn an_update_does_not_change_the_family() {
        let of = |version: &str| {
            Agent::parse(Some(&format!(
                "Mozilla/5.0 (X11; Linux x86_64; rv:{version}) Gecko/20100101 Firefox/{version}"
            )))
        };
        assert_eq!(of("120.0"), of("121.0"));
    }
}
