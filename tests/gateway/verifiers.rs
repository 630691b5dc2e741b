//! The five verifiers of `examples/verify`, run as they stand: each accepts what an upstream was really sent, and refuses
//! every assertion that `linkgate assertion --bad` prints.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use http::StatusCode;
use linkgate::clock::Clock;
use linkgate::secret::{fingerprint, random_token};
use linkgate::store::{self, Location};
use serde_json::Value;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::assertions::asking;
use crate::harness::Gate;
use crate::program::Home;
use crate::python::python_with;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/verify");

/// A gateway whose time is that of the verifiers, and assertions for them.
struct Set {
    keys: MockServer,
    good: String,
    bad: Vec<(String, String)>,
    _gate: Gate,
    _home: Home,
}

impl Set {
    async fn new() -> Self {
        let home = Home::before(([127, 0, 0, 1], 9).into());
        let text = fs::read_to_string(home.path().join("gateway.toml")).unwrap();
        home.write("gateway.toml", &asking(&text));
        let clock = Clock::manual(Clock::system().now());
        let location = Location::try_from(format!("sqlite:{}", home.path().join("store.db").display())).unwrap();
        let store = store::open(&location, Path::new("."), clock.clone()).unwrap();
        let gate = Gate::on(store, clock, |configuration| asking(&configuration)).await;
        let mut visitor = gate.signed_in("root@example.com").await;
        assert_eq!(visitor.open("/").await.status, StatusCode::OK);
        let good = gate.recorder.last().values("x-linkgate-assertion")[0].to_owned();
        // The gateway's own host is another than the one that verifiers would say on its port.
        let shown = gate.visitor().open("/.linkgate/keys.json").await.body;
        let keys = MockServer::start().await;
        let shown = ResponseTemplate::new(200).set_body_raw(shown, "application/json");
        Mock::given(any()).respond_with(shown).mount(&keys).await;
        let printed = home.run(&["assertion", "--bad", "--json"]).await;
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let bad: Vec<Value> = serde_json::from_str(&printed.stdout).unwrap();
        let text = |wrong: &Value, name: &str| wrong[name].as_str().unwrap().to_owned();
        let bad: Vec<_> = bad.iter().map(|wrong| (text(wrong, "name"), text(wrong, "assertion"))).collect();
        Self { keys, good, bad, _gate: gate, _home: home }
    }

    /// What a verifier says of each line.
    fn ask(&self, mut verifier: Command, lines: &[&str]) -> Vec<String> {
        let url = format!("{}/", self.keys.uri());
        verifier.args([&url, "http://localhost:8080", "localhost/"]);
        verifier.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = verifier
            .spawn()
            .unwrap_or_else(|error| panic!("{verifier:?}: {error}; `./script/test` installs what it needs"));
        running.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        let output = running.wait_with_output().unwrap();
        let said: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.len(), lines.len(), "{verifier:?} says {said:?}, {stderr}");
        let refused = said.iter().any(|line| !line.starts_with("good "));
        assert_eq!(output.status.code(), Some(i32::from(refused)), "{verifier:?} says {said:?}, {stderr}");
        said
    }

    fn check(&self, verifier: impl Fn() -> Command) {
        let said = self.ask(verifier(), &[&self.good]);
        assert!(said[0].starts_with("good ") && said[0].ends_with(" root@example.com"), "{said:?}");
        let bad: Vec<&str> = self.bad.iter().map(|(_, assertion)| assertion.as_str()).collect();
        // Between two good ones, so that none is refused for what came before it.
        let lines: Vec<&str> = bad.iter().flat_map(|assertion| [*assertion, self.good.as_str()]).collect();
        let said = self.ask(verifier(), &lines);
        for ((name, _), said) in self.bad.iter().zip(said.chunks(2)) {
            assert!(said[0].starts_with("refused "), "`{name}` was accepted: {said:?}");
            assert!(said[1].starts_with("good "), "after `{name}`: {said:?}");
        }
    }
}

fn program(name: &'static str, file: &'static str) -> impl Fn() -> Command {
    move || {
        let mut command = Command::new(name);
        command.arg(Path::new(FOLDER).join(file));
        command
    }
}

/// A copy of the file for Node.js beside the packages that it needs, made once and kept below `target`.
fn node() -> PathBuf {
    let making = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("verify-{}", random_token().expose()));
    let wanted = fs::read_to_string(Path::new(FOLDER).join("package.json")).unwrap();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("verify-node-{}", &fingerprint(&wanted)[..16]));
    if !kept.join("node_modules").exists() {
        fs::create_dir(&making).unwrap();
        fs::copy(Path::new(FOLDER).join("package.json"), making.join("package.json")).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&making);
        let installed = npm.stdin(Stdio::null()).output().unwrap();
        assert!(installed.status.success(), "jose cannot be installed from npm: {installed:?}");
        // Another run may have been faster.
        if fs::rename(&making, &kept).is_err() {
            fs::remove_dir_all(&making).unwrap();
        }
    }
    let file = kept.join("verify.mjs");
    fs::copy(Path::new(FOLDER).join("verify.mjs"), &file).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_verifiers_accept_good_assertions_and_refuse_every_bad_one() {
    let set = Set::new().await;
    let names: BTreeSet<&str> = set.bad.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.len() == set.bad.len() && names.len() >= 25, "{names:?}");
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/headers.md")).unwrap();
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "docs/headers.md lacks `{name}`");
    }
    tokio::task::spawn_blocking(move || {
        let python = python_with("verify", "examples/verify/requirements.txt");
        set.check(|| {
            let mut command = Command::new(&python);
            command.arg(Path::new(FOLDER).join("verify.py"));
            command
        });
        let file = node();
        set.check(|| {
            let mut command = Command::new("node");
            command.arg(&file);
            command
        });
        set.check(program("ruby", "verify.rb"));
        set.check(program("perl", "verify.pl"));
        set.check(program("php", "verify.php"));
    })
    .await
    .unwrap();
}
