//! The hosts of a route: one, or every name below one.

use std::fmt;

use crate::origin::Authority;

/// `app.example.com`, or `*.example.com` for every name below `example.com`, however deep, but not for that itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every name below this one.
    Below(String),
}

impl HostPattern {
    /// Reads a host in its plain form, with `*.` before it or without; `None` for all else, also for a host with a port.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_exact) = text.strip_prefix("*.").map_or((text, true), |name| (name, false));
        let authority =
            Authority::parse(name).filter(|authority| authority.port.is_none() && authority.host == name)?;
        // There is nothing below an address.
        let is_name = matches!(url::Host::parse(name), Ok(url::Host::Domain(_)));
        match (is_exact, is_name) {
            (true, _) => Some(Self::Exact(authority.host)),
            (false, true) => Some(Self::Below(authority.host)),
            (false, false) => None,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_may_stand_before_a_name() {
        let check =
            |text: &str, expected: Option<HostPattern>| assert_eq!(HostPattern::parse(text), expected, "{text}");
        check("app.example.com", Some(HostPattern::Exact("app.example.com".to_owned())));
        check("*.example.com", Some(HostPattern::Below("example.com".to_owned())));
        check("*.localhost", Some(HostPattern::Below("localhost".to_owned())));
        check("127.0.0.1", Some(HostPattern::Exact("127.0.0.1".to_owned())));
        check("[::1]", Some(HostPattern::Exact("[::1]".to_owned())));
        for wrong in
            ["", "*", "*.", "**.a", "*.*.a", "a.*.b", "*a.b", "*.0.0.1", "*.127.0.0.1", "*.A", "a:80", "*.a:80"]
        {
            check(wrong, None);
        }
    }
}
