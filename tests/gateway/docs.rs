//! Every snippet of README and `docs/` is true: configurations are valid as they stand, commands are understood by the
//! program and do something, links to pages of ours lead somewhere.

use std::fs;
use std::path::Path;

use http::StatusCode;
use linkgate::config::{Config, Purpose};

use crate::harness::Gate;
use crate::program::Home;
use crate::tls::Files;

/// A block of code.
struct Snippet {
    /// File and line, for who reads a failure.
    place: String,
    language: String,
    text: String,
}

fn snippets() -> Vec<Snippet> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages.iter().flat_map(|page| snippets_of(page)).collect()
}

fn snippets_of(page: &Path) -> Vec<Snippet> {
    let text = fs::read_to_string(page).unwrap();
    let (mut found, mut open): (Vec<Snippet>, Option<Snippet>) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let place = format!("{}:{}", page.file_name().unwrap().display(), number + 1);
                open = Some(Snippet { place, language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(snippet)) => snippet.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{} has a block without an end", page.display());
    found
}

fn of(languages: &[&str]) -> Vec<Snippet> {
    snippets().into_iter().filter(|snippet| languages.contains(&snippet.language.as_str())).collect()
}

/// The files that snippets name, at places of this test's own.
struct Named(Files);

impl Named {
    fn new() -> Self {
        let files = Files::new();
        for name in ["fullchain", "wiki", "people"] {
            files.certify(name, &["app.example.com"]);
        }
        fs::copy(files.path("fullchain.key"), files.path("key.pem")).unwrap();
        for secret in ["mosaic", "secret", "smtp", "intranet", "wiki-gateway"] {
            let path = files.path(secret);
            fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        Self(files)
    }

    fn place(&self, text: &str) -> String {
        let here = format!("\"{}/", self.0.path("").display().to_string().trim_end_matches('/'));
        let folders = ["\"/run/secrets/", "\"/run/credentials/linkgate.service/", "\"/etc/linkgate/"];
        let text = folders.iter().fold(text.to_owned(), |text, folder| text.replace(folder, &here));
        text.replace("sqlite:/var/lib/linkgate/", "sqlite:").replace("= \"secret\"", &format!("= {here}secret\""))
    }
}

/// The built-in issuer, where a snippet is not about who signs visitors in.
const MAIL: &str = "[issuer.mail]\nserver = \"127.0.0.1:9\"\nsecurity = \"none\"\nfrom = \"noreply@example.com\"\n\
    [[issuer.user]]\nemail = \"ada@example.com\"\n";

/// Tables that a snippet goes on with: what a snippet before it began them by, which has a setting of this name.
const BEGUN: [(&str, &str, &str); 2] = [
    ("[mosaic]\n", "client_id", "region = \"eu\"\nclient_id = \"x\"\n"),
    (
        "[tls]\n",
        "certificate =",
        "certificate = \"/etc/linkgate/fullchain.pem\"\nprivate_key = \"/etc/linkgate/key.pem\"\n",
    ),
];

/// A whole file: the snippet with what it leaves out because the page is not about that.
fn whole(snippet: &str) -> String {
    let has = |start: &str| snippet.lines().any(|line| line.starts_with(start));
    // A part of a rule, a setting of the top, or tables.
    let (top, tables) = match snippet.lines().next().unwrap_or_default() {
        first if first.starts_with('[') => (String::new(), snippet.to_owned()),
        first if first.starts_with("hours = ") => {
            (String::new(), format!("[[route]]\nupstream = \"demo\"\nallow = {{ {} }}\n", first.trim()))
        }
        _ => snippet.split_once("\n[").map_or_else(
            || (snippet.to_owned(), String::new()),
            |(top, tables)| (format!("{top}\n"), format!("[{tables}")),
        ),
    };
    let mut text = String::new();
    if !has("public_url") {
        text += "public_url = \"https://app.example.com\"\n";
    }
    text += &top;
    for (table, first, begun) in BEGUN {
        if tables.contains(table) && !tables.contains(first) {
            return whole(&snippet.replace(table, &format!("{table}{begun}")));
        }
    }
    if !tables.contains("[mosaic]") && !tables.contains("[issuer.mail]") {
        text += MAIL;
    }
    // An issuer of its own has no routes.
    if !tables.contains("[[route]]") && !snippet.contains("id.example.com\"        # where") {
        text += "[[route]]\nupstream = \"http://127.0.0.1:3000\"\n";
    }
    text + &tables
}

#[test]
fn every_configuration_is_valid() {
    let named = Named::new();
    let found = of(&["toml"]);
    assert!(found.len() > 20, "only {} were found", found.len());
    for Snippet { place, text, .. } in found {
        let text = named.place(&whole(&text));
        let is_issuer_alone = text.contains("https://id.example.com\"        # where");
        let purpose = if is_issuer_alone { Purpose::IssuerAlone } else { Purpose::Gateway };
        if let Err(problems) = Config::parse_for(purpose, &text, Path::new("gateway.toml")) {
            panic!("{place}: {problems}\nin\n{text}");
        }
    }
}

/// The first words of commands that are not the program's own.
const OTHERS: [&str; 9] =
    ["curl", "git", "docker", "install", "systemctl", "umask", "printf", "./script/run", "./script/test"];

#[tokio::test]
async fn every_command_is_understood_and_does_something() {
    let settings = "public_url = \"https://app.example.com\"\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [session]\nstore = \"sqlite:store.db\"\n";
    let routes = "[[route]]\nupstream = \"demo\"\nassertion = true\n\
         [[route]]\npath = \"/wiki\"\nupstream = \"demo\"\nallow = { groups = [\"staff\"] }\n\
         [[route]]\npath = \"/admin\"\nupstream = \"demo\"\nassertion = true\n";
    let home = Home::with(&[settings, MAIL, routes].concat());
    home.write("people.csv", "email,name\neve@example.com,Eve\n");
    let mut commands = 0;
    for Snippet { place, text, .. } in of(&["sh"]) {
        for command in text.lines().flat_map(|line| line.split('#').next().unwrap_or_default().split("&&")) {
            let words = words(command);
            let Some((program, arguments)) = words.split_first() else { continue };
            if program != "linkgate" {
                assert!(OTHERS.contains(&program.as_str()), "{place}: {program} is not known here");
                continue;
            }
            // Without a word it serves, which other stories do; an issuer of its own has a file of its own.
            if arguments.is_empty() || arguments.iter().any(|word| word == "issuer") {
                continue;
            }
            let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            // At a terminal it is asked whether that is meant.
            if ["revoke", "remove"].iter().any(|word| arguments.contains(word)) && !arguments.contains(&"--yes") {
                arguments.push("--yes");
            }
            let ended = home.run(&arguments).await;
            assert!(!ended.stderr.contains("Usage:"), "{place}: {command}\n{}", ended.stderr);
            // What looks at services or IDs that are not here fails, and says so.
            let is_told = ended.code == Some(0) || ended.code == Some(1) && !ended.stderr.is_empty();
            let has_failed = arguments[0] == "doctor" && ended.code == Some(1);
            assert!(is_told || has_failed, "{place}: {command}\n{:?} {}{}", ended.code, ended.stdout, ended.stderr);
            commands += 1;
        }
    }
    assert!(commands > 20, "only {commands} were run");
}

/// Words as a shell takes them, with double quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for sign in command.trim().chars() {
        match sign {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            sign => word.push(sign),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_link_to_a_page_of_ours_leads_somewhere() {
    let gate = Gate::start().await;
    let mut visitor = gate.signed_in("ada@example.com").await;
    let found = of(&["html"]);
    assert!(!found.is_empty());
    for Snippet { place, text, .. } in found {
        for target in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()) {
            assert_eq!(visitor.open(target).await.status, StatusCode::OK, "{place}: {target}");
        }
    }
}

#[test]
fn every_script_is_one() {
    for Snippet { place, text, .. } in of(&["js"]) {
        let file = std::env::temp_dir().join(format!("linkgate-docs-{}.mjs", std::process::id()));
        fs::write(&file, text).unwrap();
        let checked = std::process::Command::new("node").arg("--check").arg(&file).output().unwrap();
        assert!(checked.status.success(), "{place}: {}", String::from_utf8_lossy(&checked.stderr));
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn no_snippet_is_of_a_kind_that_nothing_looks_at() {
    for Snippet { place, language, .. } in snippets() {
        // What a program prints, and what systemd reads.
        let is_known = ["toml", "sh", "html", "js", "text", "ini"].contains(&language.as_str());
        assert!(is_known, "{place}: {language:?}");
    }
}
