//! `linkgate init`: four questions, and a file that `linkgate check` accepts.

use std::fs::{self, File};

use super::{Ended, Home, Process};

const LOCAL: &str = r#"# Every other setting is explained in the gateway.toml that comes with linkgate.
public_url = "http://localhost:8080"        # where visitors reach the gateway
listen = "127.0.0.1:8080"                   # where it listens

[issuer]                                    # the built-in issuer signs visitors in
mailbox = true                              # mail is shown at /.linkgate/mailbox, on this machine only

[sign_up]                                   # whose account is made when they first ask for a link
allow = ["*"]                               # addresses, domains, or "*" for anybody

[[route]]                                   # one for each application or part of one
upstream = "http://127.0.0.1:3000"          # your application
"#;

const NEXT: &str = "gateway.toml: written\nNext: run `linkgate`, open http://localhost:8080/, \
                    and find the link at http://localhost:8080/.linkgate/mailbox.\n";

/// A folder without a configuration.
fn home() -> Home {
    let home = Home::with("");
    fs::remove_file(home.path().join("gateway.toml")).unwrap();
    home
}

fn written(home: &Home) -> String {
    fs::read_to_string(home.path().join("gateway.toml")).unwrap()
}

/// Answers the questions with these lines.
async fn answered(home: &Home, answers: &str) -> Ended {
    home.write("answers", answers);
    let mut command = home.command(&["init"]);
    command.stdin(File::open(home.path().join("answers")).unwrap());
    Process::spawn(command).ended().await
}

async fn is_fine(home: &Home) {
    let checked = home.run(&["check"]).await;
    // What is warned of is who may read a story's secrets.
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, written(home));
}

#[tokio::test]
async fn what_stands_in_brackets_runs_on_this_machine() {
    for answers in [None, Some("\n\n\n\n"), Some("3000\nhttp://localhost:8080\nMailbox\n*\n")] {
        let home = home();
        let ended = match answers {
            None => home.run(&["init", "--yes"]).await,
            Some(answers) => answered(&home, answers).await,
        };
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), NEXT), "{answers:?}: {}", ended.stderr);
        assert_eq!(written(&home), LOCAL, "{answers:?}");
        is_fine(&home).await;
    }
}

#[tokio::test]
async fn a_wrong_answer_is_asked_for_again() {
    let home = home();
    let answers = "127.0.0.1:3000\nhttp://127.0.0.1:4000\nhttp://app.example.com\nhttps://app.example.com\n\
                   mailbox\npigeon\nsmtp\nsmtp.example.com:x\nsmtp.example.com\nnoreply@example.com\n\nexample.com\n\n";
    let ended = answered(&home, answers).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for said in [
        "expected \"demo\" or a URL like \"http://127.0.0.1:3000\" (seen: \"127.0.0.1:3000\")",
        "plain http:// works for localhost only; sign-in on a network needs https:// (seen: \"http://app.example.com\")",
        "shows everybody's mail, so it works on this machine only, but `public_url` is https://app.example.com",
        "expected mailbox, smtp or mosaic",
        "(seen: \"smtp.example.com:x\")",
        "expected \"*\", a domain like \"@example.com\", or an address like \"ada@example.com\"",
    ] {
        assert_eq!(ended.stderr.matches(said).count(), 1, "{said} in {}", ended.stderr);
    }
    let text = written(&home);
    for line in
        ["upstream = \"http://127.0.0.1:4000\" ", "server = \"smtp.example.com\" ", "allow = [\"@example.com\"] "]
    {
        assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
    }
    is_fine(&home).await;
}

#[tokio::test]
async fn flags_answer_in_place_of_somebody() {
    let home = home();
    home.write("secret", "s3cret-of-the-client");
    let mosaic = "init --upstream http://10.0.0.5:3000 --public-url https://app.example.com --mail mosaic --region eu \
                  --client-id my-client --client-secret-file secret --allow @example.com,ada@example.org";
    let ended = home.run(&mosaic.split_whitespace().collect::<Vec<_>>()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("https://app.example.com/.linkgate/callback"), "{}", ended.stdout);
    assert!(written(&home).contains("allow = [\"@example.com\",\"ada@example.org\"] "), "{}", written(&home));
    is_fine(&home).await;

    home.write("password", "hunter2");
    let smtp = "init --force --yes --public-url https://app.example.com --mail-server smtp.example.com:587 \
                --mail-from noreply@example.com --mail-username wiki --mail-password-file password";
    let ended = home.run(&smtp.split_whitespace().collect::<Vec<_>>()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(written(&home).contains("[issuer.mail]") && !written(&home).contains("[mosaic]"), "{}", written(&home));
    is_fine(&home).await;
}

#[tokio::test]
async fn nothing_is_written_where_something_is_missing_or_wrong() {
    let hint = "\n  hint: say what `linkgate init --help` lists, and `--yes` for what stands in brackets\n";
    for (arguments, error) in [
        ("init", format!("`--upstream` is not said, and nobody answers{hint}")),
        ("init --yes --mail smtp", format!("`--mail-server` is not said, and nobody answers{hint}")),
        ("init --yes --upstream ftp://app", "`--upstream`: expected \"demo\" or a URL".to_owned()),
        ("init --yes --allow example.com", "`--allow`: expected \"*\", a domain".to_owned()),
        (
            "init --yes --public-url https://app.example.com --mail mailbox",
            "`--mail`: shows everybody's mail".to_owned(),
        ),
    ] {
        let home = home();
        let ended = home.run(&arguments.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments}");
        assert!(ended.stderr.contains(&format!("error: {error}")), "{arguments}: {}", ended.stderr);
        assert!(!home.path().join("gateway.toml").exists(), "{arguments}");
    }
}

#[tokio::test]
async fn a_file_that_is_there_is_kept() {
    let home = Home::with("# mine\n");
    let ended = home.run(&["init", "--yes"]).await;
    let error = "error: `gateway.toml` is there already\n  hint: name another file with `--config FILE`, or write over this \
                 one with `--force`\n";
    assert_eq!((ended.code, ended.stderr.as_str(), written(&home).as_str()), (Some(2), error, "# mine\n"));

    let ended = home.run(&["init", "--yes", "--config", "other.toml"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("run `linkgate --config other.toml`"), "{}", ended.stdout);
    assert_eq!(home.run(&["init", "--yes", "--force"]).await.code, Some(0));
    assert_eq!(written(&home), LOCAL);
}
