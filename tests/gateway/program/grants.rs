//! Invitations and grants as an operator gives, sees and ends them, while a gateway runs on the same store.

use serde_json::Value;

use super::{Ended, Home, Program};
use crate::harness::{Visitor, configuration, eventually, with_routes};
use crate::recorder::Recorder;

const BOB: &str = "bob@example.com";
const ROUTES: &str = "[[route]]\nupstream = UPSTREAM\n\
    [[route]]\npath = '/wiki'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n\
    [[route]]\nhost = '*.pages.example.com'\nupstream = UPSTREAM\nallow = { groups = ['staff'] }\n";

/// A gateway that makes no users by itself.
async fn start() -> (Recorder, Home, Program) {
    let recorder = Recorder::start().await;
    let text = configuration(recorder.address).replace("\"memory\"", "\"sqlite:store.db\"");
    let text = text.replace("[sign_up]\nallow = [\"*\"]\n", "");
    let home = Home::with(&with_routes(&text, ROUTES));
    let program = home.start().await;
    (recorder, home, program)
}

async fn status(visitor: &Visitor, path: &str) -> u16 {
    visitor.program().open(path).await.status.as_u16()
}

#[track_caller]
fn is_refused(ended: &Ended, code: i32, stderr: &str) {
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(code), "", stderr));
}

#[tokio::test]
async fn an_invited_person_comes_in_from_nothing_until_the_grant_is_revoked() {
    let (_recorder, home, program) = start().await;
    let invited = home.run(&["invite", BOB, "--route", "/wiki", "--for", "12h", "--json"]).await;
    assert_eq!((invited.code, invited.stderr.as_str()), (Some(0), ""));
    let invited: Value = serde_json::from_str(&invited.stdout).unwrap();
    let facts = ["address", "route", "link"].map(|name| invited[name].as_str().unwrap());
    assert_eq!(facts, [BOB, "localhost/wiki", "http://localhost:8080/wiki"]);
    assert_eq!((&invited["user_added"], &invited["mailed"]), (&Value::from(true), &Value::from(true)));

    let mail = program.mail(BOB).await;
    assert_eq!(mail["subject"], "You are invited to localhost/wiki");
    assert_eq!(mail["link"], "http://localhost:8080/wiki");
    let mut bob = program.visitor();
    let led = bob.open(mail["link"].as_str().unwrap()).await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2Fwiki");
    bob.ask_for_link(BOB, "/wiki").await;
    let sign_in = async || program.mail(BOB).await["subject"].as_str().unwrap().starts_with("Sign in to");
    eventually(sign_in).await;
    program.follow_link(&mut bob, BOB).await;
    assert_eq!(status(&bob, "/wiki").await, 200);

    let explained = home.run(&["explain", "http://localhost:8080/wiki", "--as", BOB]).await;
    let lines: Vec<&str> = explained.stdout.lines().collect();
    assert_eq!(lines[0], "verdict   forwarded: it goes to the upstream, by a grant");
    assert!(lines[1].starts_with("grant     given by operator at "), "{}", explained.stdout);
    let other = home.run(&["explain", "http://localhost:8080/wiki", "--as", "eve@example.com"]).await;
    assert!(other.stdout.starts_with("verdict  no_access 403: no allow rule names the visitor\n"), "{}", other.stdout);

    let listed: Value = serde_json::from_str(&home.run(&["grants", "--json"]).await.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["address"], &listed[0]["given_by"]), (&Value::from(BOB), &Value::from("operator")));
    let lines = home.run(&["grants", "list", "--user", BOB]).await.stdout;
    let header = lines.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(header, "GRANT ADDRESS ROUTE GIVEN BY GIVEN ENDS");
    assert_eq!(home.run(&["grants", "--user", "eve@example.com"]).await.stdout, "no grants\n");

    let id = listed[0]["grant"].as_str().unwrap();
    assert_eq!(home.run(&["grants", "revoke", id]).await.code, Some(2), "nobody can be asked");
    let revoked = home.run(&["grants", "revoke", id, "--yes"]).await;
    assert_eq!((revoked.code, revoked.stdout.as_str()), (Some(0), "1 grant revoked\n"), "{}", revoked.stderr);
    eventually(async || status(&bob, "/wiki").await == 403).await;
    assert_eq!(status(&bob, "/").await, 200, "they are a user now");
    let gone = home.run(&["grants", "revoke", id, "--yes"]).await;
    is_refused(
        &gone,
        1,
        &format!("error: there is no grant {id:?}\n  hint: `linkgate grants` shows those that there are\n"),
    );
}

#[tokio::test]
async fn what_an_invitation_would_not_open_is_refused() {
    let (_recorder, home, _program) = start().await;
    let invite = async |route: &str| home.run(&["invite", BOB, "--route", route]).await;
    let hint = "  hint: these have `allow` rules: localhost/wiki, *.pages.example.com/\n";
    is_refused(&invite("/wik").await, 2, &format!("error: there is no route \"/wik\"\n{hint}"));
    is_refused(
        &invite("localhost/").await,
        2,
        "error: the route localhost/ has no `allow` rule: whoever is signed in passes it\n  \
         hint: add the user with `linkgate users add`, if they cannot sign in yet\n",
    );
    is_refused(
        &invite("*.pages.example.com/").await,
        2,
        "error: the route *.pages.example.com/ is for many hosts, so that no link leads to it\n  \
         hint: give the host that is meant a route of its own\n",
    );
    assert_eq!(home.run(&["invite", BOB, "--route", "/wiki", "--for", "0d"]).await.code, Some(2));
    assert_eq!(home.run(&["invite", "bob", "--route", "/wiki"]).await.code, Some(2));
    assert_eq!(home.run(&["grants"]).await.stdout, "no grants\n");

    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &text.replace("[issuer]\n", "[sign_in]\nallow = [\"@example.org\"]\n[issuer]\n"));
    is_refused(
        &invite("/wiki").await,
        1,
        "error: `sign_in.allow` does not let bob@example.com sign in\n  \
         hint: add the address to `sign_in.allow`: a grant is for those who may sign in\n",
    );
}
