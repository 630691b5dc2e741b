//! gateway.toml: the reference file is complete and true, and a wrong file says all that is wrong with it.

#![expect(clippy::panic, reason = "that is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use linkgate::config::Config;
use linkgate::identity::headers::Attribute;
use proptest::prelude::*;
use serde_json::Value;

use crate::authority::Authority;

mod problems;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.toml");

/// The least that runs.
const LEAST: &str = r#"public_url = "http://localhost:8080"
[issuer]
mailbox = true
[[issuer.user]]
email = "ada@example.com"
[[route]]
upstream = "demo"
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("gateway.toml")).map_err(|problems| problems.to_string())
}

/// Everything that is wrong with `text`, as the operator sees it.
fn problems(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("there is nothing wrong with\n{text}"),
        Err(problems) => problems,
    }
}

fn warnings(text: &str) -> Vec<String> {
    let config = parse(text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"));
    config.warnings().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(problems(text), expected, "for\n{text}");
}

/// What is wrong with the least file and `after` at its end, where line 8 begins.
#[track_caller]
fn check_after(after: &str, expected: &str) {
    check(&format!("{LEAST}{after}"), expected);
}

/// A directory of this test's own, removed with its files at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("linkgate-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the directory for temporary files can be written");
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("the directory was just made");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays behind harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_reference_runs_as_it_stands() {
    let config = Config::load(Path::new(REFERENCE)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings(), []);
    assert_eq!(config.public_url.to_string(), "http://localhost:8080");
    assert!(config.issuer.is_some_and(|issuer| issuer.mailbox));
    assert_eq!(config.route.len(), 1);
    assert_eq!(config.directory, Path::new(env!("CARGO_MANIFEST_DIR")));
}

/// Every table of the file: how a wrong name gets into it, and the header below which its settings stand.
const TABLES: [(&str, &str); 29] = [
    ("zz = 0\n{LEAST}", ""),
    ("{LEAST}[tls]\ncertificate = 'x'\nzz = 0", "# [tls]"),
    ("{LEAST}[[tls.additional]]\ncertificate = 'x'\nzz = 0", "# [[tls.additional]]"),
    ("{LEAST}[admin]\nzz = 0", "[admin]"),
    ("{LEAST}[log]\nzz = 0", "[log]"),
    ("{LEAST}[theme]\nzz = 0", "[theme]"),
    ("{LEAST}[limits]\nzz = 0", "[limits]"),
    ("{LEAST}[sign_in]\nzz = 0", "[sign_in]"),
    ("{LEAST}[sign_up]\nzz = 0", "[sign_up]"),
    ("{LEAST}[session]\nzz = 0", "[session]"),
    ("{LEAST}[personal_tokens]\nzz = 0", "[personal_tokens]"),
    ("{LEAST}[mosaic]\nzz = 0", "# [mosaic]"),
    ("[issuer]\nzz = 0", "[issuer]"),
    ("{LEAST}[issuer.codes]\nzz = 0", "[issuer.codes]"),
    ("[issuer.mail]\nzz = 0", "# [issuer.mail]"),
    ("{LEAST}[identity_headers]\nzz = 0", "[identity_headers]"),
    ("{LEAST}[assertion]\nzz = 0", "[assertion]"),
    ("{LEAST}[[issuer.user]]\nemail = 'b@example.com'\nzz = 0", "# [[issuer.user]]"),
    ("{LEAST}[reload]\nzz = 0", "[reload]"),
    ("{LEAST}[issuer.tls]\ncertificate = 'x'\nzz = 0", "# [issuer.tls]"),
    ("{LEAST}[[issuer.client]]\nid = 'x'\nzz = 0", "# [[issuer.client]]"),
    ("{LEAST}zz = 0", "[[route]]"),
    ("{LEAST}[route.allow]\nzz = 0", "[[route]]"),
    ("{LEAST}[route.request_headers]\nzz = 0", "[[route]]"),
    ("{LEAST}[route.response_headers]\nzz = 0", "[[route]]"),
    ("{LEAST}[[route]]\npath = '/x'\nupstream = [{ url = 'demo', zz = 0 }]", "[[route]]"),
    ("{LEAST}[route.health]\nzz = 0", "# [route.health]"),
    ("{LEAST}[route.cors]\nzz = 0", "# [route.cors]"),
    ("{LEAST}[route.upstream_tls]\nzz = 0", "# [route.upstream_tls]"),
];

/// The valid names in place of the wrong one, from serde's own list.
fn valid_names(text: &str) -> Vec<String> {
    let problems = problems(text);
    let hint = problems.split("known here: ").nth(1).unwrap_or_else(|| panic!("no names in\n{problems}\nfor\n{text}"));
    let names = hint.lines().next().unwrap_or_default();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The lines below `header`, as far as the next header.
fn section<'t>(text: &'t str, header: &str) -> Vec<&'t str> {
    let lines =
        text.lines().skip_while(|line| !header.is_empty() && *line != header).skip(usize::from(!header.is_empty()));
    lines.take_while(|line| !is_header(line)).collect()
}

fn is_header(line: &str) -> bool {
    let line = line.strip_prefix("# ").unwrap_or(line);
    line.starts_with('[') && line.ends_with(']')
}

/// The name that a line sets, behind a `#` or not.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_').then_some(name)
}

#[test]
fn the_reference_names_every_setting() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let headers: Vec<&str> = text.lines().filter(|line| is_header(line)).collect();
    for (wrong, header) in TABLES {
        let lines = section(&text, header);
        assert!(header.is_empty() || text.lines().any(|line| line == header), "{header} is not there");
        for name in valid_names(&wrong.replace("{LEAST}", LEAST)) {
            let is_section = [
                "[NAME]",
                "[[NAME]]",
                "# [NAME]",
                "# [[NAME]]",
                "[issuer.NAME]",
                "# [issuer.NAME]",
                "# [route.NAME]",
                "# [[issuer.NAME]]",
                "# [[tls.NAME]]",
            ]
            .iter()
            .any(|header| headers.contains(&header.replace("NAME", &name).as_str()));
            let is_inline =
                |line: &&str| line.contains(&format!("{{ {name} = ")) || line.contains(&format!(", {name} = "));
            let is_set = lines.iter().any(|line| name_of(line) == Some(&name)) || lines.iter().any(is_inline);
            assert!(is_set || is_section, "`{name}` is missing below {header:?}");
        }
    }
}

#[test]
fn the_reference_names_every_attribute() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let comment = section(&text, "[identity_headers]").join(" ");
    for attribute in Attribute::ALL {
        let is_named = comment.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|word| word == attribute.as_str());
        assert!(is_named, "{attribute:?} is missing");
    }
    let wrong = format!("{LEAST}[identity_headers.names]\nzz = ''");
    assert_eq!(valid_names(&wrong), Attribute::ALL.map(Attribute::as_str));
}

#[test]
fn the_tests_know_every_table() {
    for name in valid_names(&format!("zz = 0\n{LEAST}")) {
        let is_table = problems(&format!("{name} = 0\n")).contains("a table");
        let is_known =
            TABLES.iter().any(|(_, header)| header.trim_start_matches("# ").trim_matches(['[', ']']) == name);
        assert!(is_known || !is_table, "[{name}] is not in TABLES");
    }
}

/// The reference with every setting taken in, but for Mosaic's and those of real mail, which would stand beside the
/// issuer's and the mailbox, and for those that stand for one another or name files that the story would have to make.
fn reference_with_everything() -> String {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let others = ["mosaic", "issuer.mail", "issuer.client", "tls"];
    let mut stays_out = false;
    let mut full = String::new();
    for line in text.lines() {
        if is_header(line) {
            stays_out = others.iter().any(|section| line.contains(section));
        }
        let is_setting = is_header(line) || name_of(line).is_some();
        full.push_str(line.strip_prefix("# ").filter(|_| is_setting && !stays_out).unwrap_or(line));
        full.push('\n');
    }
    full
}

/// The sections as JSON, in which absent settings are null.
fn sections(config: &Config) -> Vec<(&'static str, Value)> {
    fn json(value: impl serde::Serialize) -> Value {
        serde_json::to_value(value).expect("sections are plain data")
    }
    let top = serde_json::json!({
        "listen": config.listen,
        "trusted_proxies": config.trusted_proxies,
        "oauth2_proxy_paths": config.oauth2_proxy_paths,
        "proxy_protocol": config.proxy_protocol,
        "threads": config.threads,
        "debug_page": config.debug_page,
        "stop_timeout": config.stop_timeout,
        "upgrade_timeout": config.upgrade_timeout,
    });
    vec![
        ("", top),
        ("[admin]", json(&config.admin)),
        ("[log]", json(&config.log)),
        ("[reload]", json(&config.reload)),
        ("[theme]", json(&config.theme)),
        ("[limits]", json(&config.limits)),
        ("[sign_in]", json(&config.sign_in)),
        ("[sign_up]", json(&config.sign_up)),
        ("[session]", json(&config.session)),
        ("[issuer.codes]", json(config.issuer.as_ref().map(|issuer| &issuer.codes))),
        ("[issuer]", json(&config.issuer)),
        ("[identity_headers]", json(&config.identity_headers)),
        ("[assertion]", json(&config.assertion)),
        ("[[route]]", json(&config.route[0])),
        ("# [route.health]", json(&config.route[0].health)),
    ]
}

#[test]
fn what_the_reference_comments_out_is_the_default() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let scratch = Scratch::new("everything");
    scratch.file("logo.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    fs::create_dir(scratch.0.join("templates")).expect("the directory was just made");
    scratch.file("templates/layout.html", include_bytes!("../../templates/layout.html"));
    let full = Config::parse(&reference_with_everything(), &scratch.0.join("gateway.toml"));
    let full = full.unwrap_or_else(|problems| panic!("{problems}"));
    let least = parse(LEAST).unwrap_or_else(|problems| panic!("{problems}"));
    let mut compared = 0;
    for ((header, written), (_, default)) in sections(&full).into_iter().zip(sections(&least)) {
        let commented = section(&text, header).into_iter().filter(|line| line.starts_with('#'));
        for name in commented.filter_map(name_of) {
            if default[name].is_null() {
                assert!(!written[name].is_null(), "the example of `{name}` below {header:?} does not arrive");
            } else {
                assert_eq!(written[name], default[name], "`{name}` below {header:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "only {compared} defaults were found");
}

#[test]
fn what_the_reference_says_of_real_mail_is_true() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let names: Vec<&str> = section(&text, "# [issuer.mail]").into_iter().filter_map(name_of).collect();
    let scratch = Scratch::new("mail");
    let authority = rcgen::generate_simple_self_signed(["smtp.example.com".to_owned()]).expect("names are plain");
    scratch.file("mail-ca.pem", authority.cert.pem().as_bytes());
    scratch.file("smtp", b"hunter2\n");
    fs::create_dir(scratch.0.join("templates")).expect("the directory was just made");
    scratch.file("templates/mail.txt", include_bytes!("../../templates/mail.txt"));
    let mail = section(&text, "# [issuer.mail]").into_iter().filter(|line| name_of(line).is_some());
    // Of the two places of the password one is enough.
    let mail: Vec<&str> = mail.filter(|line| !line.contains("password_env")).collect();
    let mail = mail.join("\n").replace("# ", "").replace("/run/secrets/smtp", "smtp");
    let file =
        scratch.file("gateway.toml", LEAST.replace("mailbox = true", &format!("[issuer.mail]\n{mail}")).as_bytes());
    let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
    let written = serde_json::to_value(config.issuer.and_then(|issuer| issuer.mail)).expect("settings are plain data");
    for name in names.into_iter().filter(|name| *name != "password_env") {
        assert!(!written[name].is_null(), "the example of `{name}` does not arrive");
    }
    assert_eq!(written["security"], "starttls");
    assert_eq!(written["certificate_authority_file"], scratch.0.join("mail-ca.pem").to_str().unwrap_or_default());
}

#[test]
fn what_the_reference_says_of_tls_is_true() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is there");
    let scratch = Scratch::new("tls");
    for (certificate, key, host) in [("fullchain", "key.pem", "localhost"), ("wiki", "wiki.key", "wiki.localhost")] {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("names are plain");
        scratch.file(&format!("{certificate}.pem"), made.cert.pem().as_bytes());
        scratch.file(key, made.signing_key.serialize_pem().as_bytes());
    }
    scratch.file("authorities.pem", Authority::new().pem().as_bytes());
    let taken = |header: &str| {
        let lines = section(&text, header).into_iter().filter(|line| name_of(line).is_some());
        lines.fold(header.to_owned(), |taken, line| format!("{taken}\n{line}")).replace("# ", "")
    };
    let sections = format!("{}\n{}\n", taken("# [tls]"), taken("# [[tls.additional]]"));
    let file = scratch.file(
        "gateway.toml",
        LEAST.replace("http://", "https://").replace("[[route]]", &format!("{sections}[[route]]")).as_bytes(),
    );
    let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings(), []);
    let tls = config.tls.expect("the section was taken in");
    assert_eq!(tls.certificate, scratch.0.join("fullchain.pem"));
    assert_eq!(tls.additional[0].private_key, scratch.0.join("wiki.key"));
    assert_eq!(tls.redirect_from.map(|address| address.port()), Some(80));
    assert!(tls.client_authorities.is_some());
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let scratch = Scratch::new("unreadable");
    let check = |path: &Path, expected: &str| {
        let problems = Config::load(path).err().map(|problems| problems.to_string());
        assert_eq!(problems, Some(format!("{}{expected}", path.display())));
    };
    check(&scratch.0.join("none.toml"), ": there is no such file\n  hint: name another one with `--config FILE`");
    check(&scratch.0, ": is a directory, not a file\n  hint: name the file in it with `--config FILE`");
    let empty = ": is empty\n  hint: the gateway.toml that comes with linkgate runs as it stands";
    check(&scratch.file("empty.toml", b""), empty);
    check(&scratch.file("blank.toml", b"\n \n"), empty);
    check(
        &scratch.file("latin-1.toml", b"a = 1\nb = \"caf\xe9\"\n"),
        ":2:9: is not UTF-8 text\n  hint: save the file as UTF-8",
    );
}

#[test]
fn a_folder_whose_name_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let file = Path::new(std::ffi::OsStr::from_bytes(b"/\xff/gateway.toml"));
    let problems = Config::parse(LEAST, file).expect_err("its paths could not be compared").to_string();
    assert!(
        problems.contains("is in a folder whose name is not UTF-8\n  hint: move it into another folder"),
        "{problems}"
    );
}

#[test]
fn five_mistakes_are_five_problems() {
    check(
        r#"public_url = "http://example.com"
listen = "localhost"
[issuer]
mailbox = "yes"
[session]
idle_timout = "1h"
[[route]]
upstream = "127.0.0.1:3000"
"#,
        r#"gateway.toml:1:14: public_url: plain http:// works for localhost only; sign-in on a network needs https:// (seen: "http://example.com")
gateway.toml:2:10: listen: expected an address with its port, like "127.0.0.1:8080" (seen: "localhost")
gateway.toml:4:11: issuer.mailbox: expected true or false (seen: "yes")
gateway.toml:6:1: session.idle_timout: unknown setting `idle_timout`
  hint: did you mean `idle_timeout`?
gateway.toml:8:12: route[0].upstream: expected "demo" or a URL like "http://127.0.0.1:3000" (seen: "127.0.0.1:3000")"#,
    );
}

#[test]
fn what_is_allowed_and_yet_doubtful_is_a_warning() {
    let text = r#"public_url = "https://app.example.com"
trusted_proxies = ["10.0.0.0/8", "::/0"]
[mosaic]
region = "eu"
client_id = "x"
client_secret_env = "CARGO_PKG_NAME"
[sign_up]
allow = ["*"]
[admin]
listen = "0.0.0.0:9180"
[[route]]
upstream = "demo"
"#;
    let expected = [
        "gateway.toml:2:34: trusted_proxies[1]: trusts every peer, so any visitor can pretend to come from any address \
         (seen: \"::/0\")\n  hint: name the addresses of your own proxies",
        "gateway.toml:6:21: mosaic.client_secret_env: the secret is shorter than 32 characters\n  \
         hint: compare it with the one in the Mosaic portal: it may have been cut",
        "gateway.toml:8:9: sign_up.allow: everybody with a mail address can make an account\n  \
         hint: name the domains that may, like \"@example.com\"",
        "gateway.toml:10:10: admin.listen: health and metrics are open to the network (seen: \"0.0.0.0:9180\")\n  \
         hint: make sure that only operators can reach it, or listen on 127.0.0.1",
    ];
    assert_eq!(warnings(text), expected);
    let nobody = LEAST.replace("[[issuer.user]]\nemail = \"ada@example.com\"\n", "");
    let expected = "gateway.toml:2:1: issuer: nobody can sign in: the issuer has no users, and nobody may sign up\n  \
                    hint: add an `[[issuer.user]]`, or name who may sign up in `sign_up.allow`";
    assert_eq!(warnings(&nobody), [expected]);
}

#[test]
fn rules_that_do_less_than_they_seem_to_are_a_warning() {
    let text = format!(
        "{LEAST}mode = \"observe\"\nallow = {{ max_sign_in_age = \"1h\" }}\n[sign_in]\nsilent_login_cookie = \"x\"\n"
    );
    let expected = [
        "gateway.toml:8:8: route[0].mode: lets everybody pass who is signed in, whatever the rules say, and counts whom \
         they would refuse (seen: \"observe\")\n  hint: take it out once the counts are as you mean them",
        "gateway.toml:9:29: route[0].allow.max_sign_in_age: counts a silent login, which `sign_in.silent_login_cookie` \
         allows, as a sign-in (seen: \"1h\")\n  hint: take one of the two out, if visitors are to prove it anew",
    ];
    assert_eq!(warnings(&text), expected);
}

#[test]
fn what_mosaic_could_take_otherwise_is_a_warning() {
    let scratch = Scratch::new("warnings");
    scratch.file("logo.svg", b"<svg/>");
    let text = "public_url = \"https://app.example.com\"\n[theme]\nlogo = \"logo.svg\"\n[sign_in]\n\
                identifier = \"phone\"\n[mosaic]\nlegacy_email_field = true\nregion = \"eu\"\nclient_id = \"x\"\n\
                client_secret_file = \"secret\"\n[[route]]\nupstream = \"demo\"\n";
    scratch.file("secret", b"0123456789abcdef0123456789abcdef\n");
    fs::set_permissions(scratch.0.join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = Config::load(&scratch.file("gateway.toml", text.as_bytes())).unwrap_or_else(|found| panic!("{found}"));
    let found: Vec<_> = config.warnings().iter().map(|warning| (warning.key.clone(), warning.hint.clone())).collect();
    let hint = |text: &str| Some(text.to_owned());
    let expected = [
        ("theme.logo".to_owned(), hint("name such a picture, or set `email_template = \"tenant\"` in [mosaic]")),
        ("sign_in.identifier".to_owned(), hint("did you mean \"phone_number\"?")),
        ("mosaic.legacy_email_field".to_owned(), hint("leave it out")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_only_looks_wrong_is_fine() {
    let check = |text: &str| assert_eq!(warnings(text), Vec::<String>::new(), "for\n{text}");
    let check_after = |after: &str| check(&format!("{LEAST}{after}"));
    check(LEAST);
    check(&format!("\u{feff}{}", LEAST.replace('\n', "\r\n")));
    check_after("access = \"public\"\nwhole_site = true\n");
    check_after("access = \"optional\"\n");
    check_after("[[route]]\nhost = \"docs.localhost\"\npath = \"/x\"\naccess = \"public\"\nupstream = \"demo\"\n");
    check_after("[[route]]\npath = \"/x\"\nupstream = \"https://10.0.0.1:8080/\"\n");
    check_after("[session]\nlifetime = \"1h\"\n");
    check_after("[sign_in]\nlink_lifetime = \"24h\"\n");
    check_after("[identity_headers.names]\ngroups = \"X-Team\"\nroles = \"\"\nname = \"X-Forwarded-Roles\"\n");
    check(&format!("listen = \"127.0.0.1:0\"\n{LEAST}[admin]\nlisten = \"127.0.0.1:0\"\n"));
}

#[test]
fn hosts_that_a_network_would_reach_are_not_for_plain_http() {
    let found = warnings(&format!("{LEAST}[[route]]\nhost = \"wiki.example.com\"\nupstream = \"demo\"\n"));
    let [warning] = &found[..] else { panic!("{found:?}") };
    assert!(warning.contains("route[1].host: is served over plain http://"), "{warning}");
    let secure = LEAST.replace("http://", "https://");
    let found = warnings(&format!("{secure}[[route]]\nhost = \"wiki.example.com\"\nupstream = \"demo\"\n"));
    assert_eq!(found, Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn a_secret_is_found_beside_the_file_and_kept_from_others() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = Scratch::new("secret");
    let secret = scratch.file("secret", b"0123456789abcdef0123456789abcdef\n");
    let config = r#"public_url = "https://app.example.com"
[mosaic]
region = "eu"
client_id = "x"
client_secret_file = "secret"
[[route]]
upstream = "demo"
"#;
    let file = scratch.file("gateway.toml", config.as_bytes());
    let warnings_for = |mode| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("the file is ours");
        let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let found = config.mosaic.as_ref().and_then(|mosaic| mosaic.client_secret_file.clone());
        assert_eq!(found.as_deref(), Some(secret.as_path()));
        config.warnings().iter().map(|warning| warning.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warnings_for(0o600), Vec::<String>::new());
    assert_eq!(warnings_for(0o640), Vec::<String>::new());
    assert_eq!(warnings_for(0o644), ["other users of this machine can read or change the secret"]);
    fs::write(&secret, "\n").expect("the file is ours");
    let problems = Config::load(&file).err().map(|problems| problems.to_string()).unwrap_or_default();
    assert_eq!(problems, format!("{}:5:22: mosaic.client_secret_file: the secret is empty", file.display()));
}

#[cfg(unix)]
#[test]
fn a_private_key_is_found_beside_the_file_and_kept_from_others() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = Scratch::new("private-key");
    let pair = rcgen::KeyPair::generate().expect("a key can be made");
    let key = scratch.file("key.pem", pair.serialize_pem().as_bytes());
    let config = r#"public_url = "https://app.example.com"
[mosaic]
region = "eu"
client_id = "x"
client_authentication = "private_key_jwt"
private_key_file = "key.pem"
[[route]]
upstream = "demo"
"#;
    let file = scratch.file("gateway.toml", config.as_bytes());
    let warnings_for = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("the file is ours");
        let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let mosaic = config.mosaic.as_ref().expect("there is [mosaic]");
        assert!(mosaic.connection().is_ok());
        config.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings_for(0o600), Vec::<String>::new());
    let expected = "mosaic.private_key_file: other users of this machine can read or change the private key";
    let found = warnings_for(0o644);
    assert!(found.len() == 1 && found[0].contains(expected) && found[0].contains("chmod 600"), "{found:?}");
}

/// Pieces of real files: in any order they reach further than arbitrary characters.
const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "\n",
    " = ",
    ",",
    ".",
    "\"",
    "'''",
    "é",
    "5",
    "[]",
    "{}",
    "\"*\"",
    "\"demo\"",
    "\"http://u:p@x\"",
    "\"7d\"",
    "route",
    "issuer",
    "user",
    "session",
    "allow",
    "path",
    "upstream",
    "listen",
    "\n[[route]]\n",
    "\n[issuer]\n",
    "\n[[issuer.user]]\n",
    "\nupstream = \"demo\"\n",
    "\nallow = { roles = [1] }\n",
    "\nmosaic.region = 5\n",
    "\nsign_in.allow = [\"x\", 1, \"*\", \"y\"]\n",
    "\n[[mosaic]]\nregion = 1\n",
];

/// Reads `text`, whatever it is, and looks at what is said about it.
fn is_read(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = Config::parse(text, Path::new("gateway.toml")) else { return Ok(()) };
    let lines = text.split('\n').count();
    prop_assert!(problems.iter().count() > 0);
    for problem in &problems {
        prop_assert!(!problem.message.is_empty());
        prop_assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem} in\n{text}");
        prop_assert_eq!(problem.line.is_some(), problem.column.is_some());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_problem(text in "\\PC{0,200}") {
        is_read(&text)?;
    }

    #[test]
    fn any_order_of_pieces_is_a_configuration_or_a_problem(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)
    ) {
        is_read(&pieces.concat())?;
    }
}
