//! `linkgate explain` and `linkgate diff`: what they print of a file alone, without a gateway, a store or a network.

use serde_json::{Value, json};

use super::{Ended, Home, replaced};

const CONFIGURATION: &str = r#"public_url = "http://localhost:8080"
[issuer]
mailbox = true
[session]
store = "sqlite:store.db"
[sign_in]
allow = ["@example.com"]
[[route]]
upstream = "http://127.0.0.1:1"
public = [{ path = "/static" }]
[[route]]
path = "/reports"
strip_prefix = true
upstream = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
health = { path = "/up" }
allow = [
  { groups = ["ops"], max_sign_in_age = "10m" },
  { claims = { "custom_data.team" = "sales" } },
]
[route.request_headers]
set = { X-Api-Token = "hunter2" }
[[route.deny]]
networks = ["198.51.100.0/24"]
"#;

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(code), stdout, stderr));
}

async fn explain(home: &Home, arguments: &[&str]) -> Ended {
    home.run(&[&["explain"], arguments].concat()).await
}

#[tokio::test]
async fn a_request_that_passes_is_shown_as_the_upstream_gets_it() {
    let home = Home::with(CONFIGURATION);
    let arguments =
        ["http://localhost:8080/reports//%61?x=1", "--as", "Ada@example.com", "--claim", "custom_data.team=sales"];
    let expected = "\
verdict   forwarded: it goes to the upstream
rule      route[1].allow[1] (gateway.toml:18): { claims = { custom_data.team = sales } }
host      localhost:8080
path      /reports/a
query     x=1
client    192.0.2.1
visitor   ada@example.com
route     localhost/reports (gateway.toml:11)
access    signed-in
upstream  http://127.0.0.1:1 or http://127.0.0.1:2
gets      /a?x=1
headers   host: localhost:8080
          x-api-token: (not shown)
          x-forwarded-user: supposed
          x-forwarded-email: ada@example.com
          x-forwarded-preferred-username: ada@example.com
          x-forwarded-prefix: /reports
          x-forwarded-for: 192.0.2.1
          x-forwarded-proto: http
          x-forwarded-host: localhost:8080
          x-request-id: (a new one for each request)
";
    check(&explain(&home, &arguments).await, 0, expected, "");
    assert!(!home.path().join("store.db").exists(), "explaining opens nothing");
}

#[tokio::test]
async fn each_verdict_is_said_with_what_decides() {
    let home = Home::with(CONFIGURATION);
    let said = async |arguments: &[&str]| {
        let ended = explain(&home, arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        let line = |name: &str| {
            let line = ended.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.map(|line| line[name.len()..].trim().to_owned()).unwrap_or_default()
        };
        ["verdict", "rule", "visitor", "access"].map(line)
    };
    let ops = ["http://localhost:8080/reports", "--as", "bob@example.com", "--group", "ops"];
    let allow = "route[1].allow[0] (gateway.toml:17): { groups = [ops], max_sign_in_age = 10m }";
    assert_eq!(
        said(&[&ops[..], &["--signed-in-ago", "10m"]].concat()).await,
        ["forwarded: it goes to the upstream", allow, "bob@example.com", "signed-in"]
    );
    let again = "step_up_required 401: the visitor signed in too long ago for the allow rule; a browser is led to sign-in once more";
    assert_eq!(
        said(&[&ops[..], &["--signed-in-ago", "11m"]].concat()).await,
        [again, allow, "bob@example.com", "signed-in"]
    );
    assert_eq!(
        said(&[&ops[..], &["--peer", "198.51.100.9"]].concat()).await,
        [
            "no_access 403: a deny rule fits",
            "route[1].deny[0] (gateway.toml:22): { networks = [198.51.100.0/24] }",
            "bob@example.com",
            "signed-in"
        ]
    );
    assert_eq!(
        said(&[ops[0], "--as", "bob@example.com"]).await,
        [
            "no_access 403: no allow rule names the visitor",
            "route[1].allow (gateway.toml:16): [{ groups = [ops], max_sign_in_age = 10m }, { claims = { custom_data.team = sales } }]",
            "bob@example.com",
            "signed-in"
        ]
    );
    let nobody = "sign_in_required 401: nobody is signed in; a browser that opens a page is led to sign-in";
    assert_eq!(said(&ops[..1]).await, [nobody, "", "nobody is signed in", "signed-in"]);
    let stranger = "nobody: eve@evil.test is refused at sign-in, by sign_in.allow or without a verified address";
    assert_eq!(said(&[ops[0], "--as", "eve@evil.test", "--group", "ops"]).await, [nobody, "", stranger, "signed-in"]);
    let unverified = [&ops[..], &["--claim", "email_verified=false"]].concat();
    assert_eq!(said(&unverified).await[0], nobody);
    assert_eq!(
        said(&["http://localhost:8080/static/x"]).await,
        [
            "forwarded: it goes to the upstream",
            "",
            "nobody is signed in",
            "public, by route[0].public[0] (gateway.toml:10)"
        ]
    );
    assert_eq!(
        said(&["http://localhost:8080/static/../reports"]).await[0],
        "bad_request 400: the request has no single meaning, or lacks a part"
    );
    assert_eq!(said(&["http://localhost:8080/a b"]).await[0].split(':').next(), Some("bad_request 400"));
}

#[tokio::test]
async fn what_cannot_be_asked_is_wrong_usage() {
    let home = Home::with(CONFIGURATION);
    let here = "http://localhost:8080/";
    for (arguments, said) in [
        (&["/reports"][..], "error: `/reports` is no address like https://app.example.com/reports\n"),
        (&[here, "--as", "ada"], "error: `--as ada`: a mail address has the form name@example.com\n"),
        (&[here, "--header", "x"], "error: `x` is no header field like `Accept: text/html`\n"),
        (
            &[here, "--as", "ada@example.com", "--claim", "department=x"],
            "error: `--claim department=x`: expected a claim of Mosaic's ID tokens, like \"organization\" or \
             \"custom_data.department\"\n",
        ),
    ] {
        check(&explain(&home, arguments).await, 2, "", said);
    }
    for arguments in [&[here, "--at", "noon"][..], &[here, "--group", "ops"], &[here, "--peer", "x"], &[]] {
        assert_eq!(explain(&home, arguments).await.code, Some(2), "{arguments:?}");
    }
    home.write("gateway.toml", "public_url = 1\n");
    assert_eq!(explain(&home, &[here]).await.code, Some(2));
}

#[tokio::test]
async fn another_configuration_is_told_in_words_with_what_waits_for_a_restart() {
    let home = Home::with(CONFIGURATION);
    let changes = [
        ("groups = [\"ops\"], max_sign_in_age = \"10m\"", "groups = [\"ops\"]"),
        ("store.db", "other.db"),
        ("hunter2", "hunter3"),
        ("\"@example.com\"", "\"@example.com\", \"eve@evil.test\""),
    ];
    home.write("new.toml", &replaced(CONFIGURATION, &changes));
    let ended = home.run(&["diff", "new.toml"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "sign_in.allow gains eve@evil.test");
    assert_eq!(lines.last(), Some(&"session.store changes from sqlite:store.db to sqlite:other.db, after a restart"));
    assert!(!ended.stdout.contains("hunter"), "{}", ended.stdout);

    let told: Value = serde_json::from_str(&home.run(&["diff", "new.toml", "--json"]).await.stdout).unwrap();
    assert_eq!(told["applied"][0], json!({ "words": "sign_in.allow gains eve@evil.test", "opens": false }));
    assert_eq!(told["applied"].as_array().unwrap().len() + told["waiting"].as_array().unwrap().len(), lines.len());

    home.write("open.toml", &CONFIGURATION.replace("strip_prefix = true", "strip_prefix = true\nmode = \"observe\""));
    let opened = "route localhost/reports changes mode from enforce to observe (allows more than before)\n";
    check(&home.run(&["diff", "open.toml"]).await, 0, opened, "");
    check(&home.run(&["diff", "gateway.toml"]).await, 0, "nothing changes\n", "");

    home.write("wrong.toml", &format!("{CONFIGURATION}upstrem = 1\n"));
    let ended = home.run(&["diff", "wrong.toml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.starts_with("error: wrong.toml:24:1: "), "{}", ended.stderr);
}

#[tokio::test]
async fn a_store_that_does_not_answer_leaves_out_what_was_granted() {
    let away = "[session]\nstore = \"redis://127.0.0.1:1\"\n[[route]]\nallow = { groups = [\"staff\"] }\n";
    let text = "public_url = \"http://localhost:8080\"\n[issuer]\nmailbox = true\n[sign_up]\nallow = [\"*\"]\n";
    let home = Home::with(&format!("{text}{away}upstream = \"http://127.0.0.1:9\"\n"));
    let ended = explain(&home, &["http://localhost:8080/", "--as", "ada@example.com"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("verdict  no_access"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("note: what was granted is left out: failed to "), "{}", ended.stderr);
    let unasked = explain(&home, &["http://localhost:8080/"]).await;
    assert_eq!((unasked.code, unasked.stderr.as_str()), (Some(0), ""), "without somebody the store is not asked");
}
