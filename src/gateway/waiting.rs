//! What cannot change while the gateway runs: listeners, threads, the store, and the built-in issuer with all that it was
//! made of.

use crate::config::Config;

/// `wanted` with everything that waits for a restart as it is in `running`.
pub(super) fn held(running: &Config, wanted: &Config) -> Config {
    if waits_as_a_whole(running, wanted) {
        let mut config = running.clone();
        config.reload = wanted.reload.clone();
        return config;
    }
    let mut config = wanted.clone();
    config.listen = running.listen;
    config.threads = running.threads;
    config.admin = running.admin.clone();
    config.log.format = running.log.format;
    config.session.store = running.session.store.clone();
    if let Some(tls) = &mut config.tls {
        tls.redirect_from = running.tls.as_ref().and_then(|tls| tls.redirect_from);
    }
    if let Some(issuer) = &running.issuer {
        config.issuer = Some(issuer.clone());
        config.contents = config.contents.with("issuer", &running.contents);
        config.sign_in.link_lifetime = running.sign_in.link_lifetime;
        if issuer.listen.is_some() {
            config.trusted_proxies.clone_from(&running.trusted_proxies);
        }
        // Open sign-up was checked against the new address, and visitors still come to the old one.
        if wanted.listen != running.listen {
            config.sign_up = running.sign_up.clone();
        }
    }
    config
}

/// Whether `wanted` makes sense only with what must wait, so that no part of it may come first: it was checked for another
/// service, or with the built-in issuer, whose tokens have that name, for another public address.
fn waits_as_a_whole(running: &Config, wanted: &Config) -> bool {
    let is_other_service = running.issuer.is_some() != wanted.issuer.is_some();
    is_other_service || (running.issuer.is_some() && running.public_url != wanted.public_url)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::difference;

    const BASE: &str = "public_url = \"http://localhost:8080\"\n";
    const ISSUER: &str = "[issuer]\nmailbox = true\n";
    const ROUTE: &str = "[[route]]\nupstream = \"demo\"\n";

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/nowhere/gateway.toml")).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn check(running: &str, wanted: &str, applied: &[&str], waiting: &[&str]) {
        let (running, wanted) = (config(running), config(wanted));
        let held = held(&running, &wanted);
        let words =
            |old: &Config, new: &Config| difference(old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(&running, &held), applied);
        assert_eq!(words(&held, &wanted), waiting);
    }

    #[test]
    fn listeners_threads_the_store_and_the_issuer_wait_and_the_rest_does_not() {
        check(
            &format!("{BASE}{ISSUER}{ROUTE}"),
            &format!(
                "{BASE}listen = \"127.0.0.1:1\"\nthreads = 3\n[admin]\nlisten = \"127.0.0.1:2\"\n[log]\nlevel = \"debug\"\n\
                 format = \"json\"\n[session]\nstore = \"memory\"\nlifetime = \"1d\"\n[sign_in]\nlink_lifetime = \"5m\"\n\
                 [limits]\nheader_fields = 9\n{ISSUER}key_lifetime = \"20d\"\n[theme]\nname = \"Wiki\"\n{ROUTE}"
            ),
            &[
                "limits.header_fields changes from 100 to 9",
                "log.level changes from info to debug",
                "session.lifetime changes from 7d to 1d",
                "theme.name is now Wiki",
            ],
            &[
                "admin.listen changes from 127.0.0.1:9180 to 127.0.0.1:2",
                "issuer.key_lifetime changes from 30d to 20d",
                "listen changes from 127.0.0.1:8080 to 127.0.0.1:1",
                "log.format changes from auto to json",
                "session.store changes from sqlite:linkgate.db to memory",
                "sign_in.link_lifetime changes from 10m to 5m",
                "threads is now 3",
            ],
        );
    }

    #[test]
    fn another_address_of_the_issuer_takes_everything_with_it() {
        check(
            &format!("{BASE}{ISSUER}{ROUTE}"),
            &format!("public_url = \"http://localhost:9090\"\n{ISSUER}{ROUTE}access = \"public\"\nwhole_site = true\n"),
            &[],
            &[
                "public_url changes from http://localhost:8080 to http://localhost:9090",
                "route localhost/ becomes public",
                "route localhost/ changes whole_site from false to true",
            ],
        );
    }

    #[test]
    fn open_sign_up_waits_with_the_address_that_it_was_checked_for() {
        let mail = "[issuer]\n[issuer.mail]\nserver = \"localhost\"\nsecurity = \"none\"\nfrom = \"a@example.com\"\n";
        check(
            &format!("{BASE}listen = \"0.0.0.0:8080\"\n{mail}{ROUTE}"),
            &format!("{BASE}{mail}[sign_up]\nallow = [\"*\"]\n{ROUTE}"),
            &[],
            &["listen changes from 0.0.0.0:8080 to 127.0.0.1:8080", "sign_up.allow gains *"],
        );
    }
}
