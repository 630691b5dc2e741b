//! Return targets: whatever is asked for, a browser ends on a page of the application.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkgate::origin::Origin;
use linkgate::portal::return_to::{OWN_PREFIX, accept};
use linkgate::proxy::canonical::CanonicalPath;
use url::Url;

fuzz_target!(|text: &str| {
    for origin in ["https://app.example.test", "http://localhost:8080"] {
        let public_url = Origin::try_from(origin.to_owned()).expect("an origin");
        let base = Url::parse(origin).expect("a URL");
        let target = accept(text, &public_url);
        assert!(target.starts_with('/') && !target.starts_with("//"), "{target:?}");
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic()) && !target.contains('\\'), "{target:?}");
        // From whatever page the browser comes.
        for page in ["/", "/.linkgate/callback?code=x&state=y", "/a/b/c;d"] {
            let landed = base.join(page).and_then(|page| page.join(&target)).expect("a URL");
            assert_eq!(landed.origin(), base.origin(), "{target:?}");
            assert_eq!(&landed[url::Position::BeforePath..], target, "the browser leaves it as it is");
        }
        assert_eq!(accept(&target, &public_url), target, "a fixed point");
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if let Ok(path) = CanonicalPath::parse(path.as_bytes()) {
            let own = CanonicalPath::parse(path.as_str().to_ascii_lowercase().as_bytes());
            assert!(!own.is_ok_and(|path| path.is_below(OWN_PREFIX)), "{target:?} is the gateway's own");
        }
    }
});
