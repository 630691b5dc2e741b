//! Browser and system out of a `User-Agent`: to tell families apart and to name them to people.

use std::fmt;

use serde::{Deserialize, Serialize};
use woothee::parser::Parser;

/// What a visitor's program calls itself, without versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The browser, or the first word that another program says of itself.
    pub browser: String,
    /// The system, where it is known.
    pub system: Option<String>,
}

impl Agent {
    /// Reads a `User-Agent` (RFC 9110 section 10.1.5).
    pub fn parse(user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.unwrap_or_default();
        let known = |text: &str| (text != woothee::woothee::VALUE_UNKNOWN).then(|| text.to_owned());
        let found = Parser::new().parse(user_agent);
        // Of other programs woothee knows only the kind; their own first word says more.
        let is_browser = |category: &str| matches!(category, "pc" | "smartphone" | "mobilephone" | "appliance");
        let browser = found.as_ref().filter(|found| is_browser(found.category)).and_then(|found| known(found.name));
        let product = || user_agent.split(['/', ' ']).next().unwrap_or_default();
        let plain = |text: &str| text.chars().filter(char::is_ascii_graphic).take(40).collect();
        Self { browser: browser.unwrap_or_else(|| plain(product())), system: found.and_then(|found| known(found.os)) }
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
    use super::*;

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
    fn an_update_does_not_change_the_family() {
        let of = |version: &str| {
            Agent::parse(Some(&format!(
                "Mozilla/5.0 (X11; Linux x86_64; rv:{version}) Gecko/20100101 Firefox/{version}"
            )))
        };
        assert_eq!(of("120.0"), of("121.0"));
    }
}
