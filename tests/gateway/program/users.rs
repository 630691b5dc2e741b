//! Users as an administrator adds, sees and removes them, at the built-in issuer and at Mosaic.

use http::StatusCode;
use serde_json::{Value, json};

use super::directory::Directory;
use super::{Ended, Home, replaced};
use crate::harness::{closed_port, configuration, eventually};
use crate::recorder::Recorder;
use crate::stand_in::before;

const AT_MOSAIC: &str = "  hint: Mosaic assigns roles and groups in its own portal; leave them out here\n";

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(code), stdout, stderr));
}

/// A gateway with the built-in issuer where nobody may sign up.
async fn closed_home() -> (Home, Recorder) {
    let recorder = Recorder::start().await;
    let text = replaced(&configuration(recorder.address), &[("\"*\"", ""), ("\"memory\"", "\"sqlite:store.db\"")]);
    (Home::with(&text), recorder)
}

#[tokio::test]
async fn a_user_who_is_added_while_the_gateway_runs_can_sign_in() {
    let (home, recorder) = closed_home().await;
    let program = home.start().await;
    let add = ["users", "add", "Ada@Example.com", "--name", "Ada Lovelace", "--phone", "+1 202 555 0123"];
    let added = home.run(&[&add[..], &["--data", "team=engines", "--username", "ada"]].concat()).await;
    assert_eq!((added.code, added.stderr.as_str()), (Some(0), ""), "{}", added.stdout);
    let id = added.stdout.strip_prefix("ada@example.com (").and_then(|rest| rest.strip_suffix("): added\n")).unwrap();

    let shown = home.run(&["users", "show", "ada@example.com", "--json"]).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let record: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&record["user_id"], &record["username"]), (&json!(id), &json!("ada")));
    assert_eq!(record["name"], json!({ "first_name": "Ada", "last_name": "Lovelace" }));
    assert_eq!(record["phone_number"]["value"], "+12025550123");
    assert_eq!(record["custom_data"], json!({ "team": "engines" }));

    let lines = home.run(&["users", "show", id]).await.stdout;
    let start = format!(
        "id            {id}\nemail         ada@example.com (not verified)\nname          Ada Lovelace\n\
         phone_number  +12025550123\nstatus        pending\n"
    );
    assert!(lines.starts_with(&start), "{lines}");
    assert!(lines.contains("\ncustom_data   {\"team\":\"engines\"}\n"), "{lines}");

    program.signed_in("ada@example.com").await.open("/").await;
    assert_eq!(recorder.last().values("x-forwarded-user"), [id]);
}

#[tokio::test]
async fn a_user_who_is_there_is_left_alone() {
    let (home, _recorder) = closed_home().await;
    let first = home.run(&["users", "add", "ada@example.com", "--name", "Ada", "--json"]).await;
    let first: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!((&first["added"], &first["user"]["email"]["value"]), (&json!(true), &json!("ada@example.com")));
    let again = home.run(&["users", "add", "ada@example.com", "--name", "Eve"]).await;
    let id = first["user"]["user_id"].as_str().unwrap();
    check(&again, 0, &format!("ada@example.com ({id}): is there already, and was not changed\n"), "");
    let shown = home.run(&["users", "show", id, "--json"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), first["user"]);
}

#[tokio::test]
async fn the_built_in_issuer_knows_groups_lists_everybody_and_lets_go() {
    let (home, recorder) = closed_home().await;
    let program = home.start().await;
    let add = ["users", "add", "ada@example.com", "--group", "staff", "--group", "ops", "--role", "admin"];
    assert_eq!(home.run(&add).await.code, Some(0));
    let visitor = program.signed_in("ada@example.com").await;
    assert_eq!(visitor.program().open("/").await.status, StatusCode::OK);
    assert_eq!(recorder.last().values("x-forwarded-groups"), ["staff,ops"]);
    assert_eq!(recorder.last().values("x-forwarded-roles"), ["admin"]);

    let listed = home.run(&["users", "list", "--json"]).await;
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let addresses: Vec<&str> = listed.iter().map(|user| user["email"]["value"].as_str().unwrap()).collect();
    assert_eq!(addresses, ["root@example.com", "ada@example.com"]);

    let removed = home.run(&["users", "remove", "ada@example.com", "--yes"]).await;
    let id = listed[1]["user_id"].as_str().unwrap();
    check(&removed, 0, &format!("ada@example.com ({id}): removed, 1 session ended\n"), "");
    eventually(async || visitor.program().open("/").await.status == StatusCode::UNAUTHORIZED).await;
    check(&home.run(&["users", "show", id]).await, 1, "", &format!("error: there is no user `{id}`\n"));
}

#[tokio::test]
async fn a_user_whose_phone_number_is_anothers_is_not_taken_for_one_who_is_there() {
    let (home, _recorder) = closed_home().await;
    let phone = ["--phone", "+12025550123"];
    assert_eq!(home.run(&[&["users", "add", "ada@example.com"], &phone[..]].concat()).await.code, Some(0));
    let taken = home.run(&[&["users", "add", "bob@example.com"], &phone[..]].concat()).await;
    let said = "another user has the phone number, the user name or the external ID\n";
    check(&taken, 1, "", &format!("error: bob@example.com was not added: {said}"));

    home.write("users.csv", "email,username\nada@example.com,ada\ndan@example.com,dan\n");
    assert_eq!(home.run(&["users", "import", "users.csv"]).await.code, Some(0));
    home.write("users.csv", "email,username\ndan@example.com,dan\neve@example.com,dan\n");
    let summary = "imported 1 of 2 rows (0 new, 1 there already, 1 failed)\n";
    let expected = format!("error: users.csv:3: {said}{summary}");
    check(&home.run(&["users", "import", "users.csv", "--parallel", "1"]).await, 1, "", &expected);
}

#[tokio::test]
async fn nobody_is_shown_in_place_of_a_user_who_is_not_there() {
    let (home, _recorder) = closed_home().await;
    for who in ["eve@example.com", "no-such-id"] {
        let expected = format!("error: there is no user `{who}`\n");
        check(&home.run(&["users", "show", who]).await, 1, "", &expected);
    }
}

#[tokio::test]
async fn what_names_nobody_is_wrong_usage() {
    let (home, _recorder) = closed_home().await;
    for (arguments, said) in [
        (&["users", "add", "ada"][..], "a mail address has the form name@example.com"),
        (&["users", "add", "ada@example.com", "--phone", "202"], "a phone number begins with +"),
        (&["users", "add", "ada@example.com", "--data", "team"], "expected KEY=VALUE"),
        (&["users", "show", "+49"], "a phone number begins with +"),
        (&["users"], "Usage: linkgate users"),
    ] {
        let ended = home.run(arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn users_in_memory_are_nobody_elses_to_administer() {
    let home = Home::with(&configuration(closed_port().await));
    let expected = "error: failed to administer what `session.store = \"memory\"` keeps: it is gone when linkgate ends, \
                    and no other process sees it\n  hint: name a file or a server in `session.store`, like \
                    \"sqlite:linkgate.db\"\n";
    for arguments in
        [&["users", "list"][..], &["users", "add", "ada@example.com"], &["sessions", "list", "ada@example.com"]]
    {
        check(&home.run(arguments).await, 2, "", expected);
    }
}

#[tokio::test]
async fn all_users_are_listed_however_many() {
    let directory = Directory::with_users(4203).await;
    let home = directory.home().await;
    let listed = home.run(&["users", "list", "--json"]).await;
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    assert_eq!(serde_json::from_str::<Value>(&listed.stdout).unwrap(), json!(directory.users()));
    let page = |offset| format!("GET /cis/v1/users?page_offset={offset}&page_limit=2000");
    assert_eq!(directory.calls(), [page(0), page(2000), page(4000)]);
    assert!(!home.path().join("store.db").exists(), "with Mosaic the store is not touched");
}

#[tokio::test]
async fn users_are_listed_in_columns() {
    let directory = Directory::with_users(1).await;
    let home = directory.home().await;
    home.run(&["users", "add", "ada@example.com", "--name", "Ada \u{1b}[31m"]).await;
    let expected = "ID  EMAIL              NAME       PHONE  STATUS\nu0  user0@example.com                    pending\n\
                    u1  ada@example.com    Ada \u{fffd}[31m         pending\n";
    check(&home.run(&["users", "list"]).await, 0, expected, "");
}

#[tokio::test]
async fn without_users_the_list_is_empty() {
    let directory = Directory::start().await;
    let home = directory.home().await;
    check(&home.run(&["users", "list"]).await, 0, "", "there are no users\n");
    check(&home.run(&["users", "list", "--json"]).await, 0, "[]\n", "");
}

#[tokio::test]
async fn groups_and_roles_are_mosaics_to_assign() {
    let directory = Directory::start().await;
    let home = directory.home().await;
    let expected = format!("error: `--group` and `--role` work with the built-in issuer only\n{AT_MOSAIC}");
    for argument in ["--group", "--role"] {
        check(&home.run(&["users", "add", "ada@example.com", argument, "staff"]).await, 2, "", &expected);
    }
    home.write("users.csv", "email,roles\nada@example.com,\n");
    let expected = format!("error: users.csv: the column `roles` works with the built-in issuer only\n{AT_MOSAIC}");
    check(&home.run(&["users", "import", "users.csv"]).await, 2, "", &expected);
    assert_eq!(directory.calls(), [""; 0]);
}

#[tokio::test]
async fn a_user_is_removed_only_when_that_is_meant() {
    let directory = Directory::with_users(2).await;
    let home = directory.home().await;
    let unasked = home.run(&["users", "remove", "user1@example.com"]).await;
    check(&unasked, 2, "", "error: nobody can be asked whether this is meant\n  hint: say `--yes`\n");
    assert_eq!(directory.users().len(), 2);

    let removed = home.run(&["users", "remove", "user1@example.com", "--yes"]).await;
    check(&removed, 0, "user1@example.com (u1): removed, 0 sessions ended\n", "");
    assert_eq!(directory.addresses(), ["user0@example.com"]);
    let calls = directory.calls();
    assert_eq!(calls[calls.len() - 2..], ["DELETE /cis/v1/auth/users/u1/sessions", "DELETE /cis/v1/users/u1/apps"]);

    let gone = home.run(&["users", "remove", "u1", "--yes"]).await;
    check(&gone, 1, "", "error: there is no user `u1`\n");
}

#[tokio::test]
async fn a_mosaic_that_is_away_is_named_with_where_to_look() {
    let text = before(closed_port().await, &configuration(closed_port().await));
    let ended = Home::with(&text).run(&["users", "list"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.starts_with("error: failed to reach Mosaic\n  caused by: "), "{}", ended.stderr);
    let hint = "  hint: `linkgate doctor` says what is wrong, and where to change it\n";
    assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);
}
