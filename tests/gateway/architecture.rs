//! The map of `ARCHITECTURE.md`, enforced: arrows between the parts point one way, each outside package has one home,
//! and what there may be only one of is there once.
//!
//! The sources are read as tokens, so that comments and texts count for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::LazyLock;

use proc_macro2::{TokenStream, TokenTree};

/// The parts from the ground up, and whom each of them may know: parts above it in this list.
const ARROWS: &[(&str, &str)] = &[
    ("cache", ""),
    ("clock", ""),
    ("secret", ""),
    ("identity", ""),
    ("origin", ""),
    ("agent", ""),
    ("telemetry", ""),
    ("round", ""),
    ("setting", "secret"),
    ("store", "clock secret setting"),
    ("pages", "clock identity origin setting telemetry"),
    ("pem", ""),
    ("demo", "origin pages"),
    ("admin", "origin telemetry"),
    ("issuer", "agent clock identity origin pages pem secret setting store telemetry"),
    ("mosaic", "clock identity secret setting telemetry"),
    ("personal_token", "clock identity secret setting store"),
    ("grant", "cache clock identity secret store"),
    ("session", "agent cache clock identity mosaic secret setting store"),
    ("credential", "cache clock identity mosaic personal_token secret session store"),
    ("assertion", "clock credential identity origin secret setting store"),
    (
        "portal",
        "agent assertion clock grant identity mosaic origin pages personal_token secret session setting store telemetry",
    ),
    (
        "proxy",
        "assertion clock credential grant identity origin pages pem portal round secret session setting telemetry",
    ),
    (
        "config",
        "admin assertion identity issuer mosaic origin pages personal_token portal proxy secret session setting telemetry",
    ),
    (
        "gateway",
        "admin assertion clock config credential demo grant identity issuer mosaic origin pages personal_token portal proxy secret session setting store telemetry",
    ),
    ("doctor", "clock config gateway identity mosaic origin portal proxy secret session store"),
    (
        "cli",
        "assertion clock config credential doctor gateway grant identity mosaic origin personal_token round secret session setting telemetry",
    ),
];

/// The homes of the outside packages: files, and with a star a module with all below it.
const HOMES: &[(&str, &str)] = &[
    ("arc_swap", "gateway* proxy.rs proxy/edge.rs proxy/redirect.rs proxy/upstream/names.rs"),
    ("aws_lc_rs", "assertion/keys.rs secret.rs issuer/signing_key.rs mosaic/id_token/tests.rs"),
    (
        "axum",
        "admin* demo* gateway* issuer* portal* proxy/bridge.rs proxy/challenge.rs proxy/own.rs proxy/question.rs proxy/refusal.rs proxy/site.rs",
    ),
    ("clap", "cli*"),
    ("command_fds", "cli/run/upgrade.rs"),
    ("csv", "cli/import*"),
    ("idna", "identity.rs"),
    ("jiff", "clock* issuer/mail/compose.rs issuer/users/details.rs"),
    (
        "jsonwebtoken",
        "assertion* issuer/client/assertion.rs issuer/signing_key.rs mosaic/client_authentication* mosaic/id_token*",
    ),
    ("lettre", "issuer/mail/letter.rs issuer/mail/smtp.rs"),
    ("listenfd", "gateway/sockets.rs"),
    ("memchr", "session/cookie.rs"),
    ("mimalloc", "main.rs"),
    ("minijinja", "issuer/mail* pages*"),
    ("moka", "assertion/cache.rs cache.rs"),
    ("pingora", "doctor/web.rs gateway* proxy*"),
    ("prometheus", "telemetry*"),
    ("proxy_header", "proxy/edge/announced.rs"),
    // In `store.rs` the word is the module of that name.
    ("redis", "store.rs store/redis*"),
    ("regex", "setting.rs"),
    ("reqwest", "cli/login.rs mosaic*"),
    ("rlimit", "cli/run.rs"),
    ("rusqlite", "store/sqlite*"),
    (
        "rustls",
        "doctor/web.rs gateway.rs issuer/client* issuer/tls* mosaic/client_authentication* mosaic/key_set/tests.rs pem.rs \
         proxy/tls.rs proxy/upstream/setting.rs proxy/upstream/tls.rs",
    ),
    ("sd_notify", "cli/run/supervisor.rs"),
    ("tokio_rustls", "doctor/web.rs issuer/tls/listener.rs"),
    ("tracing_appender", "telemetry*"),
    ("tracing_subscriber", "telemetry*"),
    ("utoipa", "issuer*"),
    ("utoipa_axum", "issuer/api.rs issuer/oauth.rs"),
    ("woothee", "agent.rs"),
    ("x509_parser", "issuer/client* mosaic/client_authentication* pem.rs proxy/tls.rs proxy/upstream/tls.rs"),
];

/// A file of `src`.
struct Source {
    /// Its path below `src`, like `proxy/access.rs`.
    path: String,
    text: String,
    tokens: Vec<String>,
}

impl Source {
    /// The part that it belongs to: the first word of its path.
    fn part(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    fn is_in(&self, home: &str) -> bool {
        match home.strip_suffix('*') {
            Some(module) => self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')),
            None => self.path == home,
        }
    }

    /// How often `tokens` follow one another in it.
    fn count(&self, tokens: &[&str]) -> usize {
        self.tokens.windows(tokens.len()).filter(|window| *window == tokens).count()
    }

    /// Whether a path begins with the package's name, or a `use` brings the name in.
    fn uses(&self, package: &str) -> bool {
        let begins = |place: usize| match &self.tokens[..place] {
            [.., before, first, second] if first == ":" && second == ":" => !is_name(before) || before == "use",
            _ => true,
        };
        self.places(&[package, ":", ":"]).any(begins) || self.count(&["use", package]) > 0
    }

    fn says(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| token.to_lowercase().contains(word))
    }

    /// The parts that it names by `crate::`.
    fn known_parts(&self) -> BTreeSet<&str> {
        let mut known = BTreeSet::new();
        for place in self.places(&["crate", ":", ":"]) {
            let after = &self.tokens[place + 3..];
            if after[0] != "{" {
                known.insert(after[0].as_str());
                continue;
            }
            let mut depth = 0;
            let mut previous = "";
            for token in after {
                depth += i32::from(token == "{") - i32::from(token == "}");
                if depth == 0 {
                    break;
                }
                if depth == 1 && matches!(previous, "{" | ",") {
                    known.insert(token);
                }
                previous = token;
            }
        }
        known.remove(self.part());
        known
    }

    /// Whether a chain of `super::` leaves the part, which would be an arrow that `crate::` does not show.
    fn climbs_out(&self) -> bool {
        let depth = self.path.split('/').count();
        let tests = self.places(&["cfg", "(", "test", ")"]).next().unwrap_or(self.tokens.len());
        let climb = ["super", ":", ":"];
        self.places(&climb).any(|place| {
            let chain = self.tokens[place..].chunks(climb.len()).take_while(|chunk| *chunk == climb).count();
            chain >= depth + usize::from(place > tests)
        })
    }

    fn places<'a>(&'a self, tokens: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        let windows = self.tokens.windows(tokens.len()).enumerate();
        windows.filter(move |(_, window)| *window == tokens).map(|(place, _)| place)
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Every file of `src`.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_sources);
    &SOURCES
}

fn read_sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let mut tokens = Vec::new();
                flatten(TokenStream::from_str(&text).unwrap(), &mut tokens);
                sources.push(Source { path, text, tokens });
            }
        }
    }
    assert!(sources.len() > 50, "the sources are found");
    sources
}

/// The words and marks of a file, one by one; texts and numbers become blanks.
fn flatten(stream: TokenStream, tokens: &mut Vec<String>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                tokens.push(open.to_owned());
                flatten(group.stream(), tokens);
                tokens.push(close.to_owned());
            }
            TokenTree::Literal(_) => tokens.push(" ".to_owned()),
            word => tokens.push(word.to_string()),
        }
    }
}

/// The files that `is_wrong` finds, by name.
fn wrong(is_wrong: impl Fn(&Source) -> bool) -> Vec<&'static str> {
    sources().iter().filter(|source| is_wrong(source)).map(|source| source.path.as_str()).collect()
}

#[test]
fn arrows_point_one_way() {
    let names: Vec<&str> = ARROWS.iter().map(|(part, _)| *part).collect();
    for (place, (part, known)) in ARROWS.iter().enumerate() {
        let above = &names[..place];
        assert!(
            known.split(' ').all(|known| known.is_empty() || above.contains(&known)),
            "`{part}` knows a part that is not above it"
        );
    }
    let mut found: BTreeMap<&str, BTreeSet<&str>> = names.iter().map(|part| (*part, BTreeSet::new())).collect();
    for source in sources().iter().filter(|source| !matches!(source.part(), "lib" | "main")) {
        found.entry(source.part()).or_default().extend(source.known_parts());
    }
    let expected = ARROWS.iter().map(|(part, known)| (*part, known.split_whitespace().collect())).collect();
    assert_eq!(found, expected, "an arrow was added or has gone: ARROWS and ARCHITECTURE.md say which there are");
}

#[test]
fn no_file_reaches_out_of_its_part_by_super() {
    assert_eq!(wrong(Source::climbs_out), [""; 0]);
}

#[test]
fn main_knows_the_command_line_only() {
    let main = sources().iter().find(|source| source.path == "main.rs").unwrap();
    assert_eq!(main.count(&["linkgate", ":", ":", "cli"]), main.count(&["linkgate", ":", ":"]));
    assert!(main.known_parts().is_empty());
}

#[test]
fn each_package_stays_at_home() {
    for (package, homes) in HOMES {
        let homes = || homes.split_whitespace();
        let away = wrong(|source| source.uses(package) && !homes().any(|home| source.is_in(home)));
        assert_eq!(away, [""; 0], "`{package}` has left home");
        for home in homes() {
            let is_at_home = sources().iter().any(|source| source.uses(package) && source.is_in(home));
            assert!(is_at_home, "`{package}` is not used in {home} any more: HOMES must not say so");
        }
    }
}

#[test]
fn the_portal_has_never_heard_of_pingora_and_the_proxy_never_of_mosaic() {
    assert_eq!(wrong(|source| source.part() == "portal" && source.says("pingora")), [""; 0]);
    assert_eq!(wrong(|source| source.part() == "proxy" && source.says("mosaic")), [""; 0]);
}

#[test]
fn of_the_issuer_the_configuration_knows_the_settings_only() {
    let others = |source: &Source| {
        let named = source.count(&["issuer", ":", ":"]);
        source.part() == "config" && named != source.count(&["issuer", ":", ":", "Config"])
    };
    assert_eq!(wrong(others), [""; 0]);
}

#[test]
fn only_access_gives_leave_to_pass() {
    let made = |source: &Source| {
        let types = source.count(&["struct", "Pass", "{"]) + source.count(&["impl", "Pass", "{"]);
        source.count(&["Pass", "{"]) - types
    };
    for source in sources() {
        let expected = usize::from(source.path == "proxy/access.rs");
        assert_eq!(made(source), expected, "`Pass` is made in {}", source.path);
        assert!(expected == 1 || source.count(&["impl", "Pass"]) == 0, "`Pass` is extended in {}", source.path);
        if expected == 1 {
            let body = source.places(&["struct", "Pass", "{"]).next().unwrap();
            let end = source.tokens[body..].iter().position(|token| token == "}").unwrap();
            assert!(!source.tokens[body..body + end].contains(&"pub".to_owned()), "the fields of `Pass` are closed");
        }
    }
}

#[test]
fn only_one_place_says_where_a_request_goes() {
    let places: Vec<(&str, usize)> = sources()
        .iter()
        .map(|source| (source.path.as_str(), source.count(&["HttpPeer", ":", ":"]) + source.count(&["HttpPeer", "{"])))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(places, [("proxy/upstream/server.rs", 2)]);
    // Health checks make peers too, and know of no visitor's request.
    let mut makers = wrong(|source| source.count(&["peer_at", "("]) > source.count(&["fn", "peer_at", "("]));
    makers.sort_unstable();
    assert_eq!(makers, ["proxy/upstream/attempt.rs", "proxy/upstream/check.rs"]);
    // Each of these gives a connection or says where one is to be made, to a function that takes leave to pass.
    for (function, asks_for) in [("forward", "peer"), ("kept", "kept")] {
        let asks = ["attempts", ".", asks_for, "("];
        assert_eq!(wrong(|source| source.count(&asks) > 0), ["proxy/forward.rs"], "{asks_for}");
        let forward = sources().iter().find(|source| source.path == "proxy/forward.rs").unwrap();
        let takes_leave = ["fn", function, "(", "&", "self", ",", "pass", ":", "&", "Pass"];
        let start = forward.places(&takes_leave).next().expect("forwarding takes leave to pass");
        let askers: Vec<usize> = forward.places(&asks).collect();
        let between = forward.tokens[start + 1..askers[0]].iter().filter(|token| *token == "fn").count();
        assert_eq!((askers.len(), between), (1, 0), "`{function}` alone asks");
    }
    // What was kept is found by them only.
    assert_eq!(
        wrong(|source| source.count(&["kept", ".", "take", "("]) > 0),
        ["proxy/upstream/attempt.rs", "proxy/upstream/kept.rs"]
    );
}

#[test]
fn time_and_chance_come_in_through_one_door_each() {
    let clocks = ["SystemTime", "Instant", "Zoned", "elapsed"];
    let reads = |source: &Source| {
        clocks.iter().any(|clock| source.count(&[clock]) > 0) || source.count(&["Timestamp", ":", ":", "now"]) > 0
    };
    assert_eq!(wrong(reads), ["clock.rs"]);
    let generators = ["rand", "getrandom", "fastrand", "SystemRandom", "thread_rng", "OsRng"];
    let draws = |source: &Source| generators.iter().any(|generator| source.count(&[generator]) > 0);
    // A test that signs hands the generator to the signature.
    let is_test = |source: &Source| source.path.ends_with("/tests.rs");
    assert_eq!(wrong(|source| draws(source) && !is_test(source)), ["secret.rs"]);
}

#[test]
fn nothing_is_left_undone() {
    let words = ["TODO", "FIXME", "XXX", "HACK"];
    let has_word = |text: &str| words.iter().any(|word| text.split(|c: char| !c.is_alphanumeric()).any(|w| w == *word));
    let macros = ["todo", "unimplemented"];
    let has_macro = |source: &Source| macros.iter().any(|name| source.count(&[name, "!"]) > 0);
    assert_eq!(wrong(|source| has_word(&source.text) || has_macro(source)), [""; 0]);
}

#[test]
fn every_file_says_what_it_answers_for() {
    assert_eq!(wrong(|source| !source.text.starts_with("//! ")), [""; 0]);
    assert_eq!(wrong(|source| source.path.ends_with("mod.rs")), [""; 0]);
}
