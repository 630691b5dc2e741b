//! The OpenAPI document: it is there for everybody, names every call, and what it says is what the issuer does.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

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

#[tokio::test]
async fn every_call_says_who_may_make_it_and_how_it_is_refused() {
    let world = World::new().await;
    let document = document(&world).await;
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap() {
            let is_open = path.contains("/oidc/");
            assert_eq!(call["security"].is_array(), !is_open, "{method} {path}");
            assert!(call["summary"].is_string(), "{method} {path}");
            let mut refusals = if is_open { vec![] } else { vec!["401", "500", "503"] };
            if matches!(method.as_str(), "post" | "put") {
                refusals.push("413");
                assert!(call["requestBody"]["required"].as_bool().unwrap(), "{method} {path}");
            }
            for status in refusals {
                let content = &call["responses"][status]["content"]["application/json"];
                assert!(content["schema"].is_object(), "{method} {path} {status}");
            }
            ids.push(call["operationId"].as_str().unwrap().to_owned());
        }
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "two calls have one name");
}

/// The API on a socket of this machine.
async fn served(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let api = world.issuer.api();
    tokio::spawn(async move { axum::serve(listener, api).await });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing_that_is_not_as_documented() {
    let world = World::new().await;
    world.post("/cis/v1/users", &json!({ "email": "bob@example.com", "username": "bob" })).await.expect(201);
    let manager = world.another_client(json!({ "management": true })).await;
    let address = served(&manager).await;
    let bearer = format!("Authorization: Bearer {}", manager.bearer);
    let report = tokio::task::spawn_blocking(move || {
        let python = python_with("schemathesis", REQUIREMENTS);
        Command::new(python)
            .args(["-m", "schemathesis.cli", "run"])
            .arg(format!("http://{address}{DOCUMENT}"))
            .args(["--header", &bearer])
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
    });
    let report = report.await.unwrap();
    let text = String::from_utf8_lossy(&report.stdout).into_owned() + &String::from_utf8_lossy(&report.stderr);
    assert!(report.status.success(), "{text}");
    // A run that tests nothing finds nothing.
    let calls: usize =
        document(&world).await["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert!(calls >= 30 && text.contains(&format!("Tested: {calls}\n")), "{calls} calls in\n{text}");
}
