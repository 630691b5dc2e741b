//! Return targets: whatever is asked for, a browser ends on a page of ours that is not the gateway's own.

use crate::text;
use linkgate::origin::{Hosts, Origin};
use linkgate::portal::return_to::{OWN_PREFIX, accept};
use linkgate::proxy::canonical::CanonicalPath;
use url::Url;

/// Panics where that does not hold.
pub fn check(input: &[u8]) {
    let text = text(input);
    for origin in ["https://app.example.test", "http://localhost:8080"] {
        let public_url = Origin::try_from(origin.to_owned()).expect("an origin");
        let hosts = Hosts::new(&public_url, ["wiki.localhost", "*.pages.test"]);
        let accept = |text: &str| accept(text, &public_url, &hosts);
        let base = Url::parse(origin).expect("a URL");
        let target = accept(text);
        assert_eq!(accept(&target), target, "a fixed point");
        if !target.starts_with('/') {
            let landed = Url::parse(&target).expect("a URL");
            let there = hosts.origin(landed.host_str().expect("a host")).expect("one of ours");
            assert_eq!(landed.origin(), Url::parse(&there.to_string()).expect("a URL").origin());
            assert!(there != public_url && landed.username().is_empty() && landed.password().is_none(), "{target:?}");
            continue;
        }
        assert!(target.starts_with('/') && !target.starts_with("//"), "{target:?}");
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic()) && !target.contains('\\'), "{target:?}");
        // From whatever page the browser comes.
        for page in ["/", "/.linkgate/callback?code=x&state=y", "/a/b/c;d"] {
            let landed = base.join(page).and_then(|page| page.join(&target)).expect("a URL");
            assert_eq!(landed.origin(), base.origin(), "{target:?}");
            assert_eq!(&landed[url::Position::BeforePath..], target, "the browser leaves it as it is");
        }
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if let Ok(path) = CanonicalPath::parse(path.as_bytes()) {
            let own = CanonicalPath::parse(path.as_str().to_ascii_lowercase().as_bytes());
            assert!(!own.is_ok_and(|path| path.is_below(OWN_PREFIX)), "{target:?} is the gateway's own");
        }
    }
}
