//! What survives the end of the process, however it ends, and what stands in the way of a new start.

use std::net::TcpListener;

use http::StatusCode;

use super::Home;
use crate::harness::{closed_port, configuration};
use crate::recorder::Recorder;

#[tokio::test]
async fn a_session_survives_kill_9_and_a_sign_out_does_too() {
    let recorder = Recorder::start().await;
    let home = Home::before(recorder.address);
    let program = home.start().await;
    let visitor = program.signed_in("ada@example.com").await;
    let mut stolen = visitor.clone();
    program.kill().await;

    let program = home.start().await;
    let mut visitor = program.again(&visitor);
    assert_eq!(visitor.open("/").await.status, StatusCode::OK);
    assert_eq!(recorder.last().values("x-forwarded-email"), ["ada@example.com"]);
    let page = visitor.open("/.linkgate/sign-out").await;
    let signed_out = visitor.post("/.linkgate/sign-out", &[("csrf", &page.field("csrf"))]).await;
    assert_eq!(signed_out.status, StatusCode::SEE_OTHER);
    stolen = program.again(&stolen);
    assert_eq!(stolen.program().open("/").await.status, StatusCode::UNAUTHORIZED);
    program.kill().await;

    let program = home.start().await;
    let refused = program.again(&stolen).program().open("/").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(recorder.requests().len(), 1);
}

#[tokio::test]
async fn a_link_that_was_asked_for_before_a_restart_works_after_it() {
    let recorder = Recorder::start().await;
    let home = Home::before(recorder.address);
    let program = home.start().await;
    let mut visitor = program.visitor();
    visitor.ask_for_link("ada@example.com", "/reports").await;
    program.mail("ada@example.com").await;
    program.kill().await;

    let program = home.start().await;
    let mut visitor = program.again(&visitor);
    program.follow_link(&mut visitor, "ada@example.com").await;
    assert_eq!(visitor.open("/reports").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, port) = (taken.local_addr().unwrap(), taken.local_addr().unwrap().port());
    let text = configuration(closed_port().await);
    for (setting, before) in [("listen", "\nlisten"), ("admin.listen", "[admin]\nlisten")] {
        let free = format!("{before} = \"127.0.0.1:0\"");
        assert!(text.contains(&free), "{free}");
        let home = Home::with(&text.replacen(&free, &format!("{before} = \"{address}\""), 1));
        let ended = home.run(&[]).await;
        let expected = format!(
            "error: failed to listen on {address} (`{setting}`)\n  caused by: Address already in use (os error 98)\n  \
             hint: another program uses port {port}; stop it, or choose another address with `{setting}`\n"
        );
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(1), "", expected));
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_left_alone() {
    let home = Home::before(closed_port().await);
    home.write("store.db", "Dear diary, today I learned about SQLite and its format of files.\n");
    let before = std::fs::read(home.path().join("store.db")).unwrap();
    let ended = home.run(&[]).await;
    let expected = format!(
        "error: failed to open the store\n  caused by: read the store `{}`: it is damaged or not linkgate's; \
         move it away and linkgate starts with an empty one\n",
        home.path().join("store.db").display()
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    assert_eq!(std::fs::read(home.path().join("store.db")).unwrap(), before);
}

#[tokio::test]
async fn a_store_of_a_later_version_is_left_alone() {
    let home = Home::before(closed_port().await);
    home.start().await.kill().await;
    let store = home.path().join("store.db");
    rusqlite::Connection::open(&store).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let ended = home.run(&[]).await;
    let expected = format!(
        "error: failed to open the store\n  caused by: read the store `{}`: it has format 99 and this linkgate knows up to 1; \
         run the newer version, or name another file\n",
        store.display()
    );
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(1), "", expected));
}
