//! The OpenAPI document: it is there for everybody, names every call, and what it says is what the issuer does.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::python::python_with;

const REQUIREMENTS: &str = "tests/gateway/issuer/schemathesis.txt";
const DOCUMENT: &str = "/cis/openapi.json";

async fn document(world: &World) -> Value {
    run(world.issuer.api(), Method::GET, DOCUMENT, &[], "").await.expect(200).json()
}

#[tokio::test]
async fn the_document_says_what_and_whose_it_is() {
    let world = World::new().await;
    let document = document(&world).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    assert_eq!(document["info"]["title"], "linkgate issuer");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["bearer"]["type"], &schemes["bearer"]["scheme"]), (&json!("http"), &json!("bearer")));
    let flow = &schemes["client_credentials"]["flows"]["clientCredentials"];
    assert_eq!(flow["tokenUrl"], "/oidc/token");
}

/// The ways in that a call names, each by the schemes that it needs together.
fn security(call: &Value) -> Vec<Vec<&str>> {
    let ways = call["security"].as_array().unwrap_or_else(|| panic!("{call}")).iter();
    ways.map(|way| way.as_object().unwrap().keys().map(String::as_str).collect()).collect()
}

#[tokio::test]
async fn every_call_says_who_may_make_it_and_how_it_is_refused() {
    let world = World::new().await;
    let document = document(&world).await;
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let (ways, mut refusals): (&[&[&str]], Vec<&str>) = match name.as_str() {
                "get /cis/oidc/jwks" | "get /cis/oidc/.well-known/openid-configuration" => (&[&[]], vec![]),
                "get /cis/oidc/me" | "post /cis/v1/auth/logout" => (&[&["user"]], vec!["401", "503"]),
                "post /cis/oidc/me" => (&[&["user"], &[]], vec!["400", "401", "503"]),
                _ if path.contains("/oidc/token") => (&[&["client"], &[]], vec!["400", "401", "429", "503"]),
                _ => (&[&["bearer"], &["client_credentials"]], vec!["401", "500", "503"]),
            };
            assert_eq!(security(call), ways, "{name}");
            assert!(call["summary"].is_string(), "{name}");
            if matches!(method.as_str(), "post" | "put") && name != "post /cis/v1/auth/logout" {
                refusals.push("413");
                let is_needed = call["requestBody"]["required"].as_bool().unwrap_or(false);
                assert_eq!(is_needed, name != "post /cis/oidc/me", "{name}");
            }
            for status in refusals {
                let content = &call["responses"][status]["content"]["application/json"];
                assert!(content["schema"].is_object(), "{name} {status}");
            }
            ids.push(call["operationId"].as_str().unwrap().to_owned());
        }
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "two calls have one name");
}

#[tokio::test]
async fn every_route_is_in_the_document() {
    let world = World::new().await;
    let document = document(&world).await;
    for (method, path) in [
        ("post", "/oidc/token"),
        ("post", "/cis/oidc/token"),
        ("post", "/oidc/token/revocation"),
        ("post", "/cis/oidc/token/revocation"),
        ("post", "/oidc/token/introspection"),
        ("post", "/cis/oidc/token/introspection"),
        ("get", "/cis/oidc/me"),
        ("post", "/cis/oidc/me"),
        ("get", "/cis/oidc/jwks"),
        ("get", "/cis/oidc/.well-known/openid-configuration"),
        ("post", SEND),
        ("post", AUTHENTICATE),
        ("post", "/cis/v1/auth/otp/send"),
        ("post", "/cis/v1/auth/otp/authenticate"),
        ("post", SESSION_AUTHENTICATE),
        ("post", LOGOUT),
        ("post", REFRESH),
        ("post", "/cis/v1/auth/logout"),
        ("delete", "/cis/v1/auth/users/{user_id}/sessions"),
        ("post", "/cis/v1/users"),
        ("get", "/cis/v1/users/identifier"),
        ("delete", "/cis/v1/manage/users/{user_id}"),
        ("post", "/cis/v1/groups/{group_id}/members"),
    ] {
        assert!(document["paths"][path][method].is_object(), "{method} {path}");
    }
}

/// The API on a socket of this machine.
async fn served(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let api = world.issuer.api();
    tokio::spawn(async move { axum::serve(listener, api).await });
    address
}

/// What schemathesis says of the calls that `which` picks, made with `authorization`.
async fn schemathesis(address: SocketAddr, authorization: String, which: [&'static str; 2]) -> Output {
    let run = move || {
        let python = python_with("schemathesis", REQUIREMENTS);
        Command::new(python)
            .args(["-m", "schemathesis.cli", "run"])
            .arg(format!("http://{address}{DOCUMENT}"))
            .args(["--header", &format!("Authorization: {authorization}")])
            .args(which)
            // The document cannot say which of the calls that are well formed are refused all the same, like those with
            // a code that is not valid.
            .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
            .args(["--phases", "examples,coverage,fuzzing,stateful"])
            .args(["--max-examples", "20", "--generation-deterministic"])
            .args(["--no-shrink", "--continue-on-failure", "--suppress-health-check", "all", "--no-color"])
            .args(["--workers", "1", "--request-timeout", "20"])
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing_that_is_not_as_documented() {
    const OF_CLIENTS: &str = "^(/cis)?/oidc/token";
    const OF_USERS: &str = "^/cis/(oidc/me|v1/auth/logout)$";
    const OF_EITHER: &str = "^(/cis)?/oidc/token|^/cis/(oidc/me|v1/auth/logout)$";
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com", "username": "bob" })).await.expect(201);
    let user = format!("Bearer {}", world.sign_in().await.text("access_token"));
    let manager = world.another_client(json!({ "management": true })).await;
    let client = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    let address = served(&manager).await;
    let mut tested = 0;
    for (authorization, which) in [
        (format!("Bearer {}", manager.bearer), ["--exclude-path-regex", OF_EITHER]),
        (client, ["--include-path-regex", OF_CLIENTS]),
        (user, ["--include-path-regex", OF_USERS]),
    ] {
        let report = schemathesis(address, authorization, which).await;
        let text = String::from_utf8_lossy(&report.stdout).into_owned() + &String::from_utf8_lossy(&report.stderr);
        assert!(report.status.success(), "{text}");
        let (_, count) = text.split_once("Tested: ").unwrap_or_else(|| panic!("{text}"));
        tested += count.lines().next().unwrap().parse::<usize>().unwrap();
    }
    // A run that tests nothing finds nothing.
    let calls: usize =
        document(&world).await["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert!(calls >= 40 && tested == calls, "{tested} of {calls} calls were tested");
}
