//! Which organisation a visitor signs in to (B2B tenants of Mosaic): a fixed one, one for a host, or the link's.

use std::collections::BTreeMap;

/// What the operator set.
#[derive(Clone, Debug, Default)]
pub struct Organizations {
    /// Everybody's.
    pub fixed: Option<String>,
    /// That of a host, which comes before everybody's.
    pub by_host: BTreeMap<String, String>,
    /// Whether a link to the sign-in page may name one, which comes before both. Mosaic says who is a member.
    pub from_link: bool,
}

impl Organizations {
    /// The organisation for a sign-in on `host`, where the link asked for `asked`.
    pub(super) fn choose(&self, host: &str, asked: &str) -> Option<String> {
        let asked = Some(asked).filter(|name| self.from_link && is_name(name));
        asked.or_else(|| self.by_host.get(host).map(String::as_str)).or(self.fixed.as_deref()).map(str::to_owned)
    }
}

/// Mosaic's names are opaque; what a stranger sends is kept to what can be one.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let by_host = [("app.example.com".to_owned(), "org-host".to_owned())].into();
        let all = Organizations { fixed: Some("org-all".to_owned()), by_host, from_link: true };
        let strict = Organizations { from_link: false, ..all.clone() };
        let check = |organizations: &Organizations, host: &str, asked: &str, expected: Option<&str>| {
            assert_eq!(organizations.choose(host, asked).as_deref(), expected, "{host} {asked:?}");
        };
        check(&all, "app.example.com", "", Some("org-host"));
        check(&all, "www.example.com", "", Some("org-all"));
        check(&all, "app.example.com", "org-link", Some("org-link"));
        check(&all, "app.example.com", "org link", Some("org-host"));
        check(&all, "app.example.com", &"x".repeat(65), Some("org-host"));
        check(&strict, "app.example.com", "org-link", Some("org-host"));
        check(&Organizations::default(), "app.example.com", "org-link", None);
    }
}
