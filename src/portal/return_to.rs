//! Where a visitor goes on after signing in or out: always a page of ours.

use url::{Url, form_urlencoded};

use crate::origin::{Hosts, Origin};
use crate::session::attempt::is_token;

/// The prefix of everything that is the gateway's own.
pub const OWN_PREFIX: &str = "/.linkgate";
/// The pages of the gateway's own that visitors go on to: looking at them does nothing.
pub const ACCOUNT: &str = "/.linkgate/account";
/// The page where a visitor lets a terminal in.
pub const DEVICE: &str = "/.linkgate/device";
/// Asking the owners of a route for access; below it are the pages on which they answer.
pub const ACCESS: &str = "/.linkgate/access";
/// The longest path of a return target.
pub const MOST_BYTES: usize = 2048;
/// What an absolute URL may have beside that: scheme, host and port.
const MOST_ORIGIN_BYTES: usize = 280;

/// What browsers ask for by themselves: nobody wants to land there.
const FETCHED: [&str; 8] = [
    "/favicon.ico",
    "/robots.txt",
    "/manifest.json",
    "/manifest.webmanifest",
    "/site.webmanifest",
    "/browserconfig.xml",
    "/sw.js",
    "/service-worker.js",
];

/// Reads a return target: a path of the site that is visited, or an absolute URL on a host of ours, which becomes a path
/// where that host is the one that is visited. Anything else, and anything that a browser could take for another site,
/// becomes `/`, and so does what browsers fetch by themselves.
///
/// The target is parsed as browsers parse it (WHATWG URL), its origin compared, and what is given back is written
/// anew from what was parsed: path, query and fragment.
pub fn accept(text: &str, visited: &Origin, hosts: &Hosts) -> String {
    parse(text, visited, hosts).unwrap_or_else(|| "/".to_owned())
}

/// Reads where a page of the visited host is, one of the gateway's own or another: what [`accept`] does, and never
/// another host. Looking at the page is all that may come of it.
pub fn page(text: &str, visited: &Origin) -> String {
    let hosts = Hosts::new(visited, []);
    read(text, visited, &hosts).map_or_else(|| "/".to_owned(), |(target, origin)| written(&target, &origin, visited))
}

fn parse(text: &str, visited: &Origin, hosts: &Hosts) -> Option<String> {
    let (target, origin) = read(text, visited, hosts)?;
    let path = target.path();
    if (is_own(path) && !is_visited(path)) || is_fetched(path) {
        return None;
    }
    Some(written(&target, &origin, visited))
}

/// The target and the host of ours that it is on.
fn read(text: &str, visited: &Origin, hosts: &Hosts) -> Option<(Url, Origin)> {
    let most = if text.starts_with('/') { MOST_BYTES } else { MOST_BYTES + MOST_ORIGIN_BYTES };
    if text.len() > most || text.contains('\\') || text.chars().any(char::is_control) {
        return None;
    }
    let base = Url::parse(&visited.to_string()).ok()?;
    let target = if text.starts_with('/') { base.join(text).ok()? } else { Url::parse(text).ok()? };
    let path = target.path();
    let folded = path.to_ascii_lowercase();
    let origin = hosts.origin(target.host_str()?)?;
    let is_ours = Url::parse(&origin.to_string()).is_ok_and(|ours| ours.origin() == target.origin());
    let has_user = !target.username().is_empty() || target.password().is_some();
    let second_slash = ["//", "/%2f"].iter().any(|start| folded.starts_with(start));
    let is_unclear = second_slash || hides_control(&folded) || folded.contains("%5c");
    if !is_ours || has_user || is_unclear {
        return None;
    }
    Some((target, origin))
}

fn written(target: &Url, origin: &Origin, visited: &Origin) -> String {
    let path = target.path();
    let mut accepted = if origin == visited { path.to_owned() } else { origin.join(path) };
    for (mark, part) in [('?', target.query()), ('#', target.fragment())] {
        if let Some(part) = part {
            accepted.push(mark);
            accepted.push_str(part);
        }
    }
    accepted
}

/// Whether a path is the gateway's, in any spelling: the proxy resolves escapes before it looks.
fn is_own(path: &str) -> bool {
    // Decodes escapes; it ends at signs that are not in the prefix.
    let (path, _) = form_urlencoded::parse(path.as_bytes()).next().unwrap_or_default();
    let path = path.to_ascii_lowercase();
    path.strip_prefix(OWN_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ';']))
}

/// Whether a path is one of the gateway's own pages that visitors go on to.
fn is_visited(path: &str) -> bool {
    let request = path.strip_prefix(ACCESS).and_then(|rest| rest.strip_prefix('/'));
    [ACCOUNT, DEVICE].contains(&path) || request.is_some_and(is_token)
}

fn is_fetched(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    FETCHED.iter().any(|name| path.ends_with(name))
        || path.starts_with("/.well-known/")
        || path.rsplit('/').next().is_some_and(|name| name.starts_with("apple-touch-icon"))
}

/// Whether a lower-case path has an encoded control character.
fn hides_control(path: &str) -> bool {
    path.match_indices('%').any(|(at, _)| {
        let escape = path.get(at + 1..at + 3);
        escape.is_some_and(|escape| escape.starts_with(['0', '1']) || escape == "7f")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Origin {
        Origin::try_from("https://app.example.test".to_owned()).unwrap()
    }

    fn accept(text: &str, visited: &Origin) -> String {
        super::accept(text, visited, &Hosts::new(&origin(), ["wiki.example.org", "*.pages.example.test"]))
    }

    #[test]
    fn a_page_is_one_of_this_host() {
        let check = |input: &str, expected: &str| assert_eq!(page(input, &origin()), expected, "{input:?}");
        check("/.linkgate/sign-in?return_to=%2Fa%3Fb%3Dc", "/.linkgate/sign-in?return_to=%2Fa%3Fb%3Dc");
        check("/reports?x=1", "/reports?x=1");
        check("https://app.example.test/x", "/x");
        for wrong in ["", "//evil.test", "/\\evil.test", "/%2fevil.test", "https://wiki.example.org/", "javascript:1"] {
            check(wrong, "/");
        }
    }

    #[test]
    fn pages_of_this_site_are_accepted() {
        let check = |input: &str, expected: &str| assert_eq!(accept(input, &origin()), expected, "{input:?}");
        check("/", "/");
        check("/any/page?x=1#part", "/any/page?x=1#part");
        check("/a b/é?q=ü", "/a%20b/%C3%A9?q=%C3%BC");
        check("/a/../b", "/b");
        check("/search?q=https://evil.test/", "/search?q=https://evil.test/");
        check("https://app.example.test/x?y", "/x?y");
        check("https://APP.example.test:443/x", "/x");
        check("/.linkgatex", "/.linkgatex");
        check("/a?b=%0d%0a", "/a?b=%0d%0a");
        check("https://wiki.example.org/x?y#z", "https://wiki.example.org/x?y#z");
        check("https://WIKI.example.org:443", "https://wiki.example.org/");
        check("https://a.pages.example.test/x", "https://a.pages.example.test/x");
        check("/docs/favicon", "/docs/favicon");
        check("/.linkgate/account", "/.linkgate/account");
        check("/.linkgate/device", "/.linkgate/device");
    }

    #[test]
    fn an_absolute_url_is_a_path_where_it_leads() {
        let wiki = Origin::try_from("https://wiki.example.org".to_owned()).unwrap();
        assert_eq!(accept("https://wiki.example.org/x?y#z", &wiki), "/x?y#z");
        assert_eq!(accept("/x", &wiki), "/x");
        assert_eq!(accept("https://app.example.test/x", &wiki), "https://app.example.test/x");
    }

    #[test]
    fn everything_else_leads_to_the_first_page() {
        for input in [
            "",
            "x",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "/\t/evil.test",
            "/%09/evil.test",
            "/./\\evil.test",
            "/.//evil.test",
            "/%2f/evil.test",
            "/%2F%2Fevil.test",
            "/%5cevil.test",
            "/a/%5c..",
            "https://evil-example.test/",
            "https://app.example.test.evil.test/",
            "https://app.example.test@evil.test/",
            "https://user@app.example.test/",
            "https://app.example.test:8443/",
            "http://app.example.test/",
            "javascript:alert(1)",
            "data:text/html,x",
            "/a%0d%0aSet-Cookie:x",
            "/a\r\nb",
            "/a%00",
            "/a%7f",
            "/a%1\u{5f4}",
            "/.linkgate",
            "/.linkgate/sign-in",
            "/.linkgate/account/",
            "/.linkgate/device/code",
            "/.linkgate/Account",
            "/.linkgate/%61ccount",
            "/.LINKGATE/sign-out",
            "/%2elinkgate/sign-out",
            "/.%6C%69nkgat%45",
            "/.linkgate;x/sign-out",
            "/x/../.linkgate/sign-out",
            "mailto:a@b.c",
            "https://wiki.example.org:8443/",
            "http://wiki.example.org/",
            "https://user@wiki.example.org/",
            "https://pages.example.test/",
            "https://evilpages.example.test/",
            "https://wiki.example.org.evil.test/",
            "https://wiki.example.org/.linkgate/sign-out",
            "https://wiki.example.org//evil.test",
            "/favicon.ico",
            "/app/favicon.ico?v=2",
            "/apple-touch-icon-precomposed.png",
            "/manifest.webmanifest",
            "/.well-known/change-password",
            "/robots.txt",
        ] {
            assert_eq!(accept(input, &origin()), "/", "{input:?}");
        }
        assert_eq!(accept(&format!("/{}", "a".repeat(2048)), &origin()), "/");
    }

    proptest! {
        #[test]
        fn nothing_leads_off_the_site(text in "[/\\\\.%a-z0-9:@?#\\t ]{0,40}") {
            let target = accept(&text, &origin());
            let base = Url::parse("https://app.example.test").unwrap();
            prop_assert_eq!(base.join(&target).unwrap().origin(), base.origin());
            prop_assert!(target.starts_with('/') && !target.starts_with("//"));
            prop_assert_eq!(accept(&target, &origin()), target);
        }
    }
}
