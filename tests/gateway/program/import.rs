//! `linkgate users import`: long files, wrong rows, a busy Mosaic, and runs that were stopped.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::directory::Directory;
use super::{Ended, Home, Process};
use crate::harness::closed_port;

const FILE: &str = "users.csv";
const PROGRESS: &str = "users.csv.linkgate-progress";

/// Compares all but the lines that a slow machine may add on the way: of those that count, the last is the end.
#[track_caller]
fn check(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    let counts = |line: &&str| line.starts_with("imported ");
    let last = ended.stderr.lines().filter(counts).count().saturating_sub(1);
    let mut before = ended.stderr.lines().filter(counts).take(last).collect::<Vec<_>>().into_iter().peekable();
    let said: String =
        ended.stderr.lines().filter(|line| before.next_if_eq(line).is_none()).map(|line| format!("{line}\n")).collect();
    assert_eq!((ended.code, ended.stdout.as_str(), said.as_str()), (Some(code), stdout, stderr));
}

/// A file with so many users.
fn users(count: usize) -> String {
    (0..count).fold("email,first_name\n".to_owned(), |mut text, at| {
        writeln!(text, "user{at}@example.com,User {at}").unwrap();
        text
    })
}

async fn directory(text: &str) -> (Directory, Home) {
    let directory = Directory::start().await;
    let home = directory.home().await;
    home.write(FILE, text);
    (directory, home)
}

async fn import(home: &Home, more: &[&str]) -> Ended {
    home.run(&[&["users", "import", FILE], more].concat()).await
}

fn summary(rows: usize, made: usize, there: usize, failed: usize) -> String {
    let imported = made + there;
    format!("imported {imported} of {rows} rows ({made} new, {there} there already, {failed} failed)\n")
}

#[tokio::test]
async fn what_a_spreadsheet_writes_is_imported() {
    let text = "\u{feff}email,name,phone_number,language,external_user_id,custom_data.team,custom_app_data.seat\r\n\
                Ada@Example.com,\"Ada Lovelace\",+1 202 555 0123,en,e-1,\"Engines, analytical\",4\r\n\
                bob@example.com,,,,,,\r\n";
    let (directory, home) = directory(text).await;
    check(&import(&home, &["--parallel", "1"]).await, 0, "", &summary(2, 2, 0, 0));
    let ada = json!({
        "user_id": "u0", "status": "Pending", "created_at": 1, "updated_at": 1,
        "email": { "value": "ada@example.com", "email_verified": false },
        "name": { "first_name": "Ada", "last_name": "Lovelace" }, "language": "en",
        "phone_number": { "value": "+12025550123", "phone_number_verified": false },
        "external_user_id": "e-1", "custom_data": { "team": "Engines, analytical" }, "custom_app_data": { "seat": "4" },
    });
    assert_eq!(directory.users()[0], ada);
    assert!(!home.path().join(PROGRESS).exists(), "all is done");
    check(&import(&home, &[]).await, 0, "", &summary(2, 0, 2, 0));
    let outcome = json!({ "rows": 2, "imported": 2, "added": 0, "existing": 2, "failed": [] });
    check(&import(&home, &["--json"]).await, 0, &format!("{outcome}\n"), &summary(2, 0, 2, 0));
}

#[tokio::test]
async fn thousands_of_users_come_to_the_built_in_issuer_and_one_sees_it() {
    let home = Home::before(closed_port().await);
    home.write(FILE, &users(2500));
    let ended = import(&home, &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let outcome: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&outcome["added"], &outcome["failed"]), (&json!(2500), &json!([])));
    let counts: Vec<usize> =
        ended.stderr.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(counts.is_sorted() && counts.last() == Some(&2500), "{counts:?}");
    let widest = counts.windows(2).map(|pair| pair[1] - pair[0]).chain([counts[0]]).max().unwrap();
    assert!(widest <= 1000, "a line for each thousand: {counts:?}");
    let last = home.run(&["users", "show", "user2499@example.com", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&last.stdout).unwrap()["name"]["first_name"], "User 2499");
}

#[tokio::test]
async fn a_wrong_column_costs_no_call() {
    let (directory, home) = directory("email,frist_name\nada@example.com,Ada\n").await;
    let expected = "error: users.csv: unknown column `frist_name`, did you mean `first_name`?\n";
    for more in [&[][..], &["--dry-run"]] {
        check(&import(&home, more).await, 2, "", expected);
    }
    home.write(FILE, "email;name\nada@example.com;Ada\n");
    let expected = "error: users.csv: the first line names one column, `email;name`, which looks like several\n  \
                    hint: separate columns by commas\n";
    check(&import(&home, &[]).await, 2, "", expected);
    let missing = home.run(&["users", "import", "none.csv"]).await;
    check(&missing, 2, "", "error: cannot read none.csv: No such file or directory (os error 2)\n");
    assert_eq!(directory.calls(), [""; 0]);
}

const FOUR_ROWS: &str = "email,name\nada@example.com,Ada\nbob,Bob\neve@example.com,Eve,surplus\ndan@example.com,Dan\n";
const TWO_WRONG: &str = "error: users.csv:3: email: a mail address has the form name@example.com\n\
                         error: users.csv:4: has 3 fields, and the first line names 2 columns\n";

#[tokio::test]
async fn wrong_rows_are_named_and_the_others_imported() {
    let (directory, home) = directory(FOUR_ROWS).await;
    check(&import(&home, &["--parallel", "1"]).await, 1, "", &format!("{TWO_WRONG}{}", summary(4, 2, 0, 2)));
    assert_eq!(directory.addresses(), ["ada@example.com", "dan@example.com"]);
    let on = "going on where an earlier run stopped: 2 of 4 rows done; 2 rows that failed before will be tried again\n";
    check(&import(&home, &[]).await, 1, "", &format!("{on}{TWO_WRONG}{}", summary(4, 2, 0, 2)));
    assert_eq!(directory.posts(), 2, "what is done is not done again");
}

#[tokio::test]
async fn the_first_wrong_row_can_be_the_end() {
    let (directory, home) = directory(FOUR_ROWS).await;
    let ended = import(&home, &["--stop-on-error"]).await;
    let first = TWO_WRONG.lines().next().unwrap();
    let expected = format!(
        "{first}\n{}error: stopped at a row that failed, as `--stop-on-error` asks\n  \
         hint: run the same command again to go on where this one stopped\n",
        summary(4, 0, 0, 1)
    );
    check(&ended, 1, "", &expected);
    assert_eq!(directory.calls(), [""; 0]);
}

#[tokio::test]
async fn a_dry_run_finds_what_is_wrong_and_calls_nobody() {
    let (directory, home) = directory(FOUR_ROWS).await;
    let ended = import(&home, &["--dry-run"]).await;
    check(&ended, 1, "", &format!("{TWO_WRONG}users.csv: 4 rows, 2 rows wrong; nobody was called\n"));
    let ended = import(&home, &["--dry-run", "--json"]).await;
    let problem = |line, message: &str| json!({ "line": line, "message": message });
    let problems = [
        problem(3, "email: a mail address has the form name@example.com"),
        problem(4, "has 3 fields, and the first line names 2 columns"),
    ];
    assert_eq!(ended.stdout, format!("{}\n", json!({ "rows": 4, "problems": problems })));
    home.write(FILE, &users(3));
    check(&import(&home, &["--dry-run"]).await, 0, "", "users.csv: 3 rows, all fine; nobody was called\n");
    assert_eq!(directory.calls(), [""; 0]);
}

#[tokio::test]
async fn a_mosaic_that_is_busy_or_stumbles_is_waited_for() {
    let (directory, home) = directory(&users(4)).await;
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "1");
    directory.answer_next([limited, ResponseTemplate::new(503)]);
    check(&import(&home, &["--parallel", "2"]).await, 0, "", &summary(4, 4, 0, 0));
    assert_eq!(directory.posts(), 6);
}

#[tokio::test]
async fn a_row_that_mosaic_refuses_is_named() {
    let (directory, home) = directory(&users(3)).await;
    let refusal = json!({ "message": ["language must be a locale"], "error_code": 400 });
    directory.answer_next([ResponseTemplate::new(400).set_body_json(refusal)]);
    let expected = "error: users.csv:2: failed to have Mosaic accept `create_user` (status 400): \
                    language must be a locale\n";
    let ended = import(&home, &["--parallel", "1"]).await;
    check(&ended, 1, "", &format!("{expected}{}", summary(3, 2, 0, 1)));
}

const ON: &str = "  hint: run the same command again to go on where this one stopped\n";

#[tokio::test]
async fn an_import_that_makes_no_sense_any_more_stops_and_goes_on_later() {
    let (directory, home) = directory(&users(10)).await;
    let refusal = json!({ "message": "Forbidden", "error_code": 403 });
    let made = |at: usize| json!({ "result": { "user_id": format!("x{at}"), "status": "Pending" } });
    directory.answer_next((0..4).map(|at| ResponseTemplate::new(201).set_body_json(made(at))));
    directory.answer_next([ResponseTemplate::new(403).set_body_json(refusal)]);
    let ended = import(&home, &["--parallel", "1"]).await;
    let expected = "error: failed to call Mosaic: the client's roles do not permit it; give the client a role that \
                    does, or none\n";
    check(&ended, 1, "", &format!("{}{expected}{ON}", summary(10, 4, 0, 0)));
    let note = std::fs::read_to_string(home.path().join(PROGRESS)).unwrap();
    assert!(!note.contains("example.com"), "no user is noted: {note}");

    let on = "going on where an earlier run stopped: 4 of 10 rows done\n";
    check(&import(&home, &["--parallel", "1"]).await, 0, "", &format!("{on}{}", summary(10, 10, 0, 0)));
    let expected: Vec<String> = (4..10).map(|at| format!("user{at}@example.com")).collect();
    assert_eq!(directory.addresses(), expected);
    assert!(!home.path().join(PROGRESS).exists());
}

/// Runs an import until a call is under way, and asks it to stop.
async fn interrupted(directory: &Directory, home: &Home, signal: &str) -> Ended {
    let (before, release) = (directory.posts(), directory.hold());
    let process = Process::spawn(home.command(&["users", "import", FILE, "--parallel", "1"]));
    directory.posted(before + 1).await;
    process.signal(signal);
    process.text_line("stopping: the calls under way are finished").await;
    release.send(()).unwrap();
    process.ended().await
}

#[tokio::test]
async fn who_interrupts_loses_nothing() {
    let (directory, home) = directory(&users(5)).await;
    for (done, signal) in [(1, "INT"), (2, "TERM")] {
        let ended = interrupted(&directory, &home, signal).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        let end = format!("{}error: stopped before the end of the file\n{ON}", summary(5, done, 0, 0));
        assert!(ended.stderr.ends_with(&end), "{}", ended.stderr);
    }
    assert_eq!(import(&home, &[]).await.code, Some(0));
    assert_eq!((directory.posts(), directory.users().len()), (5, 5), "each row was sent once");
}

#[tokio::test]
async fn a_file_that_has_changed_is_imported_anew() {
    let (directory, home) = directory(&users(3)).await;
    interrupted(&directory, &home, "INT").await;
    home.write(FILE, &users(4));
    let anew = "users.csv has changed since an earlier run; beginning anew\n";
    check(&import(&home, &[]).await, 0, "", &format!("{anew}{}", summary(4, 3, 1, 0)));

    home.write(FILE, &users(6));
    interrupted(&directory, &home, "INT").await;
    let anew = "an earlier run is forgotten, as `--restart` asks\n";
    check(&import(&home, &["--restart"]).await, 0, "", &format!("{anew}{}", summary(6, 2, 4, 0)));
}

#[tokio::test]
async fn what_was_done_elsewhere_is_not_done_here() {
    let (first, home) = directory(&users(3)).await;
    interrupted(&first, &home, "INT").await;
    let second = Directory::start().await;
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &text.replace(&first.address().to_string(), &second.address().to_string()));
    let anew = "an earlier run imported users.csv to another place; beginning anew\n";
    check(&import(&home, &[]).await, 0, "", &format!("{anew}{}", summary(3, 3, 0, 0)));

    home.write(PROGRESS, "not what linkgate writes");
    let ended = import(&home, &[]).await;
    let start = format!("cannot read what an earlier run noted in {PROGRESS}: ");
    assert!(ended.code == Some(0) && ended.stderr.starts_with(&start), "{}", ended.stderr);
}
