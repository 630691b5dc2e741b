//! Commands that end by themselves: what they print, where, and their exit code.

use serde_json::{Value, json};

use super::{Ended, Home};
use crate::harness::closed_port;

const FIVE_MISTAKES: &str = r#"public_url = "http://example.com"
listen = "localhost"
[issuer]
mailbox = "yes"
[session]
idle_timout = "1h"
[[route]]
upstream = "127.0.0.1:3000"
"#;

const FIVE_PROBLEMS: &str = r#"error: gateway.toml:1:14: public_url: plain http:// works for localhost only; sign-in on a network needs https:// (seen: "http://example.com")
error: gateway.toml:2:10: listen: expected an address with its port, like "127.0.0.1:8080" (seen: "localhost")
error: gateway.toml:4:11: issuer.mailbox: expected true or false (seen: "yes")
error: gateway.toml:6:1: session.idle_timout: unknown setting `idle_timout`
  hint: did you mean `idle_timeout`?
error: gateway.toml:8:12: route[0].upstream: expected "demo" or a URL like "http://127.0.0.1:3000" (seen: "127.0.0.1:3000")
"#;

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(code), stdout, stderr));
}

async fn home() -> Home {
    Home::before(closed_port().await)
}

#[tokio::test]
async fn check_says_that_a_good_file_is_fine() {
    let home = home().await;
    check(&home.run(&["check"]).await, 0, "gateway.toml: fine\n", "");
    let report = json!({ "file": "gateway.toml", "problems": [], "warnings": [] });
    check(&home.run(&["check", "--json"]).await, 0, &format!("{report}\n"), "");
    assert!(!home.path().join("store.db").exists(), "checking opens nothing");
}

#[tokio::test]
async fn check_shows_every_mistake_with_its_place() {
    let home = Home::with(FIVE_MISTAKES);
    check(&home.run(&["check"]).await, 2, &format!("{FIVE_PROBLEMS}gateway.toml: 5 problems\n"), "");

    let ended = home.run(&["check", "--json"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), ""));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let place = |problem: &Value| json!([problem["line"], problem["column"], problem["key"]]);
    let places: Vec<Value> = report["problems"].as_array().unwrap().iter().map(place).collect();
    let expected = [
        json!([1, 14, "public_url"]),
        json!([2, 10, "listen"]),
        json!([4, 11, "issuer.mailbox"]),
        json!([6, 1, "session.idle_timout"]),
        json!([8, 12, "route[0].upstream"]),
    ];
    assert_eq!(places, expected);
    let typed = json!({
        "line": 6, "column": 1, "key": "session.idle_timout", "message": "unknown setting `idle_timout`",
        "seen": null, "hint": "did you mean `idle_timeout`?",
    });
    assert_eq!(report["problems"][3], typed);
}

#[tokio::test]
async fn check_shows_what_is_only_doubtful() {
    let home = home().await;
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("open.toml", &text.replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"0.0.0.0:0\""));
    let expected = "warning: open.toml:6:10: admin.listen: health and metrics are open to the network \
                    (seen: \"0.0.0.0:0\")\n  hint: make sure that only operators can reach it, or listen on 127.0.0.1\n\
                    open.toml: fine, with 1 warning\n";
    check(&home.run(&["check", "--config", "open.toml"]).await, 0, expected, "");
}

#[tokio::test]
async fn a_wrong_file_does_not_run_and_says_what_check_says() {
    let home = Home::with(FIVE_MISTAKES);
    for arguments in [&[][..], &["run"], &["health"]] {
        check(&home.run(arguments).await, 2, "", FIVE_PROBLEMS);
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_wrong_usage() {
    let home = home().await;
    let missing = "none.toml: there is no such file\n  hint: name another one with `--config FILE`\n";
    let error = format!("error: {missing}");
    check(&home.run(&["check", "--config", "none.toml"]).await, 2, &format!("{error}none.toml: 1 problem\n"), "");
    check(&home.run(&["--config", "none.toml"]).await, 2, "", &error);
    check(&home.run(&["-c", "none.toml", "run"]).await, 2, "", &error);
}

/// What would stop the program at its start must not pass the check.
#[tokio::test]
async fn what_check_lets_pass_can_start() {
    let home = home().await;
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("logo.txt", "no image");
    for (wrong, expected) in [
        ("[log]\nlevel = \"inof\"\n", "log.level: cannot use `log.level`: `inof` is not a level"),
        ("[theme]\nlogo = \"none.svg\"\n", "theme.logo: cannot read the logo"),
        ("[theme]\nlogo = \"logo.txt\"\n", "theme.logo: cannot use the logo"),
        ("[theme]\ncontact = \"nobody\"\n", "theme.contact: cannot use the contact `nobody`"),
        ("[theme]\naccent = \"#ffffff\"\n", "theme.accent: cannot use the accent #ffffff"),
    ] {
        home.write("wrong.toml", &format!("{text}{wrong}"));
        refuses(&home, expected).await;
    }
    home.write("wrong.toml", &text.replace("sqlite:store.db", "redis://127.0.0.1:1?password_file=none"));
    refuses(&home, "session.store: cannot read the secret in").await;
}

/// `check` and `run` refuse `wrong.toml` with the same line.
async fn refuses(home: &Home, expected: &str) {
    let checked = home.run(&["check", "--config", "wrong.toml"]).await;
    assert_eq!(checked.code, Some(2), "{expected}");
    assert!(checked.stdout.contains(expected), "{expected} in {}", checked.stdout);
    assert!(checked.stdout.starts_with("error: wrong.toml:"), "{}", checked.stdout);
    let ran = home.run(&["--config", "wrong.toml"]).await;
    assert_eq!(format!("{}wrong.toml: 1 problem\n", ran.stderr), checked.stdout);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
}

#[tokio::test]
async fn unknown_words_are_wrong_usage() {
    let home = home().await;
    for arguments in [&["--colour"][..], &["serve"], &["check", "--jsn"], &["run", "now"], &["--config"]] {
        let ended = home.run(arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn help_and_version_are_printed() {
    let home = home().await;
    for (arguments, expected) in [
        (&["--help"][..], "Usage: linkgate [OPTIONS] [COMMAND]"),
        (&["-h"], "Usage: linkgate [OPTIONS] [COMMAND]"),
        (&["help"], "Usage: linkgate [OPTIONS] [COMMAND]"),
        (&["check", "--help"], "Usage: linkgate check [OPTIONS]"),
    ] {
        let ended = home.run(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.stdout.contains(expected), "{arguments:?}: {}", ended.stdout);
    }
    let version = concat!("linkgate ", env!("CARGO_PKG_VERSION"), "\n");
    check(&home.run(&["--version"]).await, 0, version, "");
    check(&home.run(&["-V"]).await, 0, version, "");
}

#[tokio::test]
async fn health_asks_the_program_that_runs() {
    let home = home().await;
    let program = home.start().await;
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    let admin = format!("[admin]\nlisten = \"{}\"", program.admin_address);
    home.write("asked.toml", &text.replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin));
    let ask = ["health", "--config", "asked.toml"];
    check(&home.run(&ask).await, 0, "{\"status\":\"ready\"}\n", "");

    let address = program.admin_address;
    program.kill().await;
    let ended = home.run(&ask).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let hint = format!("\n  hint: is linkgate running, with `admin.listen` {address}?\n");
    assert!(ended.stderr.starts_with("error: failed to ") && ended.stderr.ends_with(&hint), "{}", ended.stderr);
}
