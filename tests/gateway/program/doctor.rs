//! `linkgate doctor`: a set-up that is in order, and one story for each fault.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use linkgate::clock::Clock;
use linkgate::secret::base64url;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use wiremock::ResponseTemplate;

use super::{Ended, Home, Process, replaced};
use crate::authority::Authority;
use crate::harness::{closed_port, configuration, free_port};
use crate::mosaic::sign;
use crate::recorder::Recorder;
use crate::redis_server::RedisServer;
use crate::smtp_server::{Host, Manner};
use crate::stand_in::{self, KEYS, SEND, StandIn, TOKEN, before};

/// The call with a made-up token.
const MADE_UP: &str = "/cis/v1/users/linkgate-doctor";
const CALLBACK: &str = "https://app.example.test/.linkgate/callback";

/// A stand-in that is in order, as far as the doctor looks.
async fn mosaic() -> StandIn {
    let stand_in = StandIn::with_clock(Clock::system(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    stand_in.refuse(MADE_UP, 401, "Invalid token");
    stand_in.refuse(SEND, 404, "User not found");
    give_token(&stand_in, &json!({}));
    stand_in
}

/// Has the client token say something else.
fn give_token(stand_in: &StandIn, change: &Value) {
    let now = Clock::system().now().unix_seconds();
    let mut claims = json!({ "iss": "https://userid.test", "client_id": "client-1", "iat": now, "exp": now + 3600 });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let token = json!({ "access_token": sign(&claims), "token_type": "Bearer", "expires_in": 3600 });
    stand_in.answer(TOKEN, ResponseTemplate::new(200).set_body_json(token));
}

/// A gateway before the stand-in, with an application that is there.
async fn home(mosaic: SocketAddr) -> (Home, Recorder) {
    let recorder = Recorder::start().await;
    let text = before(mosaic, &configuration(recorder.address));
    (Home::with(&text.replace("\"memory\"", "\"sqlite:store.db\"")), recorder)
}

/// What the doctor finds: its exit code and its findings.
struct Found(Option<i32>, Vec<Value>);

impl Found {
    fn of(ended: &Ended) -> Self {
        assert_eq!(ended.stderr, "");
        Self(
            ended.code,
            serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout)),
        )
    }

    fn all(&self, check: &str) -> Vec<[&str; 3]> {
        let text = |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
        let found = self.1.iter().filter(|finding| text(finding, "check") == check);
        found.map(|finding| ["status", "message", "setting"].map(|name| finding[name].as_str().unwrap_or(""))).collect()
    }

    #[track_caller]
    fn only(&self, check: &str) -> [&str; 3] {
        let found = self.all(check);
        assert_eq!(found.len(), 1, "{check} in {:#?}", self.1);
        found[0]
    }

    /// One fault is named with the setting to change, and that is what the exit code says.
    #[track_caller]
    fn names(&self, check: &str, message: &str, setting: &str) {
        assert_eq!(self.only(check), ["fail", message, setting]);
        assert_eq!(self.0, Some(1));
    }

    /// The same where the rest of the message is the system's.
    #[track_caller]
    fn names_with(&self, check: &str, start: &str, setting: &str) {
        let [status, message, found] = self.only(check);
        assert_eq!((status, found, self.0), ("fail", setting, Some(1)), "{message}");
        assert!(message.starts_with(start), "{message}");
    }
}

async fn doctor(home: &Home) -> Found {
    Found::of(&home.run(&["doctor", "--json"]).await)
}

/// The same on a machine that trusts `authority`.
async fn trusting_doctor(home: &Home, authority: &Authority) -> Found {
    home.write("authority.pem", &authority.pem());
    let mut command = home.command(&["doctor", "--json"]);
    command.env("SSL_CERT_FILE", home.path().join("authority.pem"));
    Found::of(&Process::spawn(command).ended().await)
}

/// A file of settings with one of them replaced.
fn change(home: &Home, parts: &[(&str, &str)]) {
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    home.write("gateway.toml", &replaced(&text, parts));
}

fn public_url(home: &Home, url: &str) {
    change(home, &[("https://app.example.test", url)]);
}

#[tokio::test]
async fn a_running_gateway_in_order_is_found_so() {
    let (mosaic, recorder) = (mosaic().await, Recorder::start().await);
    let (port, admin) = (free_port(), free_port());
    let text = before(mosaic.address(), &configuration(recorder.address));
    let listen = format!("\nlisten = \"127.0.0.1:{port}\"");
    let text = text.replacen("\nlisten = \"127.0.0.1:0\"", &listen, 1);
    let parts = [
        ("https://app.example.test", format!("http://localhost:{port}")),
        ("[admin]\nlisten = \"127.0.0.1:0\"", format!("[admin]\nlisten = \"127.0.0.1:{admin}\"")),
        ("\"memory\"", "\"sqlite:store.db\"".to_owned()),
        ("[mosaic]", "[limits]\nconnections = 100\n[mosaic]".to_owned()),
    ];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(part, other)| (*part, other.as_str())).collect();
    let home = Home::with(&replaced(&text, &parts));
    let _program = home.start().await;
    give_token(&mosaic, &json!({}));
    let ended = home.run(&["doctor"]).await;
    let needed = "264 are needed";
    let (files, rest): (Vec<&str>, Vec<&str>) = ended.stdout.lines().partition(|line| line.ends_with(needed));
    let warning = |line: &&str| line.contains("configuration") || line.starts_with("      ");
    let rest: Vec<&str> = rest.into_iter().filter(|line| !warning(line)).collect();
    let expected = [
        format!("ok    listen           127.0.0.1:{port}: linkgate runs here"),
        format!("ok    admin            127.0.0.1:{admin}: linkgate runs here"),
        format!("ok    public address   http://localhost:{port}: leads to linkgate"),
        "ok    store            sqlite:store.db: written and read".to_owned(),
        "ok    client token     Mosaic accepts the client client-1".to_owned(),
        "ok    clock            agrees with Mosaic's".to_owned(),
        "ok    token issuer     `https://userid.test`, as expected".to_owned(),
        "ok    wrong token      refused (status 401)".to_owned(),
        "ok    keys             1 that can verify tokens".to_owned(),
        format!("ok    redirect URI     Mosaic accepts http://localhost:{port}/.linkgate/callback"),
        format!("ok    upstream         http://{}: takes connections", recorder.address),
    ];
    assert_eq!(rest, expected);
    assert!(files.len() == 1 && files[0].starts_with("ok    open files       "), "{files:?}");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(recorder.requests().is_empty(), "no application gets a request");
    let send = mosaic.calls_to(SEND).pop().unwrap().json();
    assert_eq!(send["identifier"], "linkgate-doctor@example.invalid", "nobody can be mailed");
}

#[tokio::test]
async fn a_file_that_does_not_load_is_named_as_check_does() {
    let home = Home::with("public_url = \"https://app.example.com\"\n");
    let said = home.run(&["check"]).await.stdout;
    let ended = home.run(&["doctor"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(said.starts_with(&ended.stderr) && !ended.stderr.is_empty(), "{}", ended.stderr);
    let found = Found::of(&home.run(&["doctor", "--json"]).await);
    assert_eq!(found.0, Some(2));
    let settings: Vec<&str> = found.all("configuration").iter().map(|[_, _, setting]| *setting).collect();
    assert_eq!(settings, ["", "route"]);
}

#[tokio::test]
async fn a_port_of_another_program_is_named() {
    let (mosaic, other) = (mosaic().await, Recorder::start().await);
    let port = other.address.port();
    let said = format!("127.0.0.1:{port}: another program uses port {port}");
    for (check, setting, before) in [("listen", "listen", "\nlisten"), ("admin", "admin.listen", "[admin]\nlisten")] {
        let (home, _recorder) = home(mosaic.address()).await;
        let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
        let free = format!("{before} = \"127.0.0.1:0\"");
        home.write("gateway.toml", &text.replacen(&free, &format!("{before} = \"127.0.0.1:{port}\""), 1));
        doctor(&home).await.names(check, &said, setting);
    }
}

#[tokio::test]
async fn a_public_address_that_leads_elsewhere_is_named() {
    let (mosaic, other) = (mosaic().await, Recorder::start().await);
    let (home, _recorder) = home(mosaic.address()).await;
    let url = format!("http://localhost:{}", other.address.port());
    public_url(&home, &url);
    let said = format!("{url}: something that is not linkgate answers (status 200)");
    doctor(&home).await.names("public address", &said, "public_url");
}

#[tokio::test]
async fn a_public_address_without_a_name_is_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    public_url(&home, "https://nowhere.invalid");
    let said = "https://nowhere.invalid: the name cannot be resolved (";
    doctor(&home).await.names_with("public address", said, "public_url");
}

#[tokio::test]
async fn a_public_address_that_refuses_is_a_fault_once_the_gateway_runs() {
    let recorder = Recorder::start().await;
    let text = configuration(recorder.address).replace("\"memory\"", "\"sqlite:store.db\"");
    let (url, admin) = (format!("http://localhost:{}", free_port()), free_port());
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{admin}\"");
    let parts = [("http://localhost:8080", url.as_str()), ("[admin]\nlisten = \"127.0.0.1:0\"", &admin)];
    let home = Home::with(&replaced(&text, &parts));
    let said = format!("{url}: the connection is refused: nothing listens there");
    let found = doctor(&home).await;
    let may_be = format!("{said}; linkgate does not run, so this may be in order");
    assert_eq!(found.only("public address"), ["warn", may_be.as_str(), ""]);
    assert_eq!(found.only("issuer")[0], "ok");
    assert_eq!(found.0, Some(0));

    let _program = home.start().await;
    doctor(&home).await.names("public address", &said, "public_url");
}

/// A server that has never heard of TLS.
async fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    address
}

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n\r\n\
    {\"error\":\"x\",\"message\":\"x\",\"request_id\":\"x\",\"login_url\":\"https://other.example.test/.linkgate/sign-in\"}";

#[tokio::test]
async fn each_wrong_certificate_has_its_own_cause() {
    let (mosaic, authority) = (mosaic().await, Authority::new());
    let other = authority.server("other.example.test", "").await;
    let expired = authority.expired_server("localhost").await;
    let unknown = Authority::new().server("localhost", "").await;
    let plain = plain_server().await;
    for (address, said) in [
        (other, "the TLS certificate is for another name"),
        (expired, "the TLS certificate has expired"),
        (unknown, "the TLS certificate is signed by nobody that this machine trusts"),
        (plain, "there is no TLS connection ("),
    ] {
        let (home, recorder) = home(mosaic.address()).await;
        let url = format!("https://localhost:{}", address.port());
        public_url(&home, &url);
        change(&home, &[(&format!("upstream = \"http://{}\"", recorder.address), &format!("upstream = \"{url}\""))]);
        let found = trusting_doctor(&home, &authority).await;
        found.names_with("public address", &format!("{url}: {said}"), "public_url");
        found.names_with("upstream", &format!("{url}: {said}"), "route[0].upstream");
    }
}

#[tokio::test]
async fn every_server_of_an_upstream_is_looked_at_sockets_too() {
    let mosaic = mosaic().await;
    let (home, recorder) = home(mosaic.address()).await;
    let socket = std::env::temp_dir().join(format!("linkgate-doctor-{}.sock", std::process::id()));
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let (there, here) = (format!("http://{}", recorder.address), format!("unix:{}", socket.display()));
    let both = format!("upstream = [\"{there}\", \"{here}\", \"unix:/nowhere/app.sock\"]");
    change(&home, &[(&format!("upstream = \"{there}\""), &both)]);
    let found = doctor(&home).await;
    std::fs::remove_file(&socket).unwrap();
    let nowhere = "unix:/nowhere/app.sock: there is no such socket";
    assert_eq!(
        found.all("upstream"),
        [
            ["ok", &format!("{there}: takes connections"), ""],
            ["ok", &format!("{here}: takes connections"), ""],
            ["fail", nowhere, "route[0].upstream"],
        ]
    );
}

#[tokio::test]
async fn an_authority_that_is_not_known_is_the_setting_to_change() {
    let mosaic = mosaic().await;
    let unknown = Authority::new().server("localhost", "").await;
    let (home, _recorder) = home(mosaic.address()).await;
    let there = format!("https://localhost:{}", unknown.port());
    change(&home, &[(&format!("http://{}", mosaic.address()), &there)]);
    let found = doctor(&home).await;
    for check in ["client token", "wrong token", "keys"] {
        let [status, message, setting] = found.only(check);
        assert_eq!((status, setting), ("fail", "mosaic.certificate_authority_file"), "{check}: {message}");
    }
}

#[tokio::test]
async fn a_good_certificate_is_fine_and_another_linkgate_behind_it_is_not() {
    let (mosaic, authority) = (mosaic().await, Authority::new());
    let server = authority.server("localhost", UNAUTHORIZED).await;
    let (home, recorder) = home(mosaic.address()).await;
    let url = format!("https://localhost:{}", server.port());
    public_url(&home, &url);
    change(&home, &[(&format!("upstream = \"http://{}\"", recorder.address), &format!("upstream = \"{url}\""))]);
    let found = trusting_doctor(&home, &authority).await;
    let said =
        format!("{url}: leads to a linkgate that sends visitors to https://other.example.test/.linkgate/sign-in");
    found.names("public address", &said, "public_url");
    assert_eq!(found.only("upstream"), ["ok", format!("{url}: takes TLS connections").as_str(), ""]);
}

#[tokio::test]
async fn a_clock_that_is_off_is_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    let now = Clock::system().now().unix_seconds();
    give_token(&mosaic, &json!({ "iat": now + 3600 }));
    let found = doctor(&home).await;
    let [status, message, _] = found.only("clock");
    assert_eq!((status, found.0), ("fail", Some(1)), "{message}");
    assert!(message.starts_with("this machine's clock is 35") && message.contains(" s behind Mosaic's"), "{message}");

    give_token(&mosaic, &json!({ "iat": now - 3600 }));
    let found = doctor(&home).await;
    assert!(found.only("clock")[1].contains(" s ahead of Mosaic's"), "{:?}", found.only("clock"));

    give_token(&mosaic, &json!({}));
    let late = ResponseTemplate::new(401).insert_header("date", "Wed, 21 Oct 2015 07:28:00 GMT");
    mosaic.answer(MADE_UP, late);
    assert_eq!(doctor(&home).await.only("clock")[0], "fail", "the answer's own date counts as well");
}

#[tokio::test]
async fn a_client_that_mosaic_does_not_accept_is_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    let refusal = json!({ "error": "invalid_client", "error_description": "client authentication failed" });
    mosaic.answer(TOKEN, ResponseTemplate::new(401).set_body_json(refusal));
    let found = doctor(&home).await;
    let said = "Mosaic does not accept the client client-1 (invalid_client client authentication failed)";
    found.names("client token", said, "mosaic.client_id, mosaic.client_secret_file or mosaic.client_authentication");
    assert_eq!(found.only("redirect URI"), ["warn", "not tried: there is no client token", ""]);
}

#[tokio::test]
async fn a_mosaic_that_is_nowhere_is_named() {
    let (home, _recorder) = home(closed_port().await).await;
    let found = doctor(&home).await;
    for check in ["client token", "wrong token", "keys"] {
        found.names_with(check, "cannot reach Mosaic: ", "mosaic.base_url");
    }
    let elsewhere = format!("[mosaic]\ntoken_url = \"http://{}/token\"", closed_port().await);
    change(&home, &[("[mosaic]", &elsewhere)]);
    doctor(&home).await.names_with("client token", "cannot reach Mosaic: ", "mosaic.token_url");
}

#[tokio::test]
async fn whoever_takes_any_token_is_not_mosaic() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    for status in [200, 404] {
        mosaic.answer(MADE_UP, ResponseTemplate::new(status).set_body_json(json!({})));
        let said = format!("a made-up token is not refused (status {status}): this is not Mosaic's API");
        doctor(&home).await.names("wrong token", &said, "mosaic.base_url");
    }
}

#[tokio::test]
async fn a_redirect_uri_that_mosaic_does_not_know_is_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    let refusal = "redirect_uri is not one of the allowed redirect URIs configured for this app";
    mosaic.refuse(SEND, 400, refusal);
    let said = format!("Mosaic does not accept {CALLBACK}: add it to the redirect URIs of the application");
    doctor(&home).await.names("redirect URI", &said, "public_url");
    mosaic.refuse(SEND, 403, "Public signup is not allowed for this application");
    assert_eq!(doctor(&home).await.only("redirect URI")[0], "ok", "that is about the user");
}

#[tokio::test]
async fn keys_that_verify_nothing_are_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    let sized = |kind: &str, bytes: usize| json!({ "kty": kind, "kid": "k", "use": "sig", "n": base64url(&vec![0xff; bytes]), "e": "AQAB" });
    let key = |kind: &str| sized(kind, 128);
    let set = |key: Value| ResponseTemplate::new(200).set_body_json(json!({ "keys": [key] }));
    for (answer, said) in [
        (ResponseTemplate::new(404).set_body_string("not here"), "there is no key set (status 404)"),
        (ResponseTemplate::new(200).set_body_string("<html>"), "what is at the address is not a key set"),
        (set(key("EC")), "none of the 1 keys in the set is an RSA key that can verify tokens"),
        (set(key("RSA")), "no key can verify tokens: RSA keys need 2048 bits, and 1 have less"),
        (
            set(sized("RSA", 256)),
            "no key in the set signed the client token; an application with signing keys of its own has a key set of its own",
        ),
    ] {
        mosaic.answer(KEYS, answer);
        doctor(&home).await.names("keys", said, "mosaic.key_set_url");
    }
}

#[tokio::test]
async fn tokens_of_another_issuer_client_or_tenant_are_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    give_token(&mosaic, &json!({ "iss": "https://eu.userid.security" }));
    let said = "tokens come from `https://eu.userid.security`, and `https://userid.test` is expected: \
                set it to \"https://eu.userid.security\"";
    doctor(&home).await.names("token issuer", said, "mosaic.issuer");
    give_token(&mosaic, &json!({ "client_id": "client-2" }));
    let said = "the client token was given to another client, `client-2`";
    doctor(&home).await.names("token issuer", said, "mosaic.client_id");
    give_token(&mosaic, &json!({ "tid": "t2" }));
    change(&home, &[("[mosaic]", "[mosaic]\ntenant_id = \"t1\"")]);
    let said = "tokens are of the tenant `t2`, and `t1` is expected";
    doctor(&home).await.names("token issuer", said, "mosaic.tenant_id");
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_no_fault() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    mosaic.recover(TOKEN);
    let found = doctor(&home).await;
    let said = "the client token does not say who signs; expected is `https://userid.test`";
    assert_eq!(found.only("token issuer"), ["warn", said, ""]);
    assert_eq!(found.only("clock")[0], "ok", "the answers have a date");
}

/// A home whose store is `location`.
async fn stored(mosaic: &StandIn, location: &str) -> (Home, Recorder) {
    let (home, recorder) = home(mosaic.address()).await;
    change(&home, &[("sqlite:store.db", location)]);
    (home, recorder)
}

#[tokio::test]
async fn a_store_file_that_cannot_be_written_is_named() {
    let mosaic = mosaic().await;
    let (home, _recorder) = stored(&mosaic, "sqlite:/proc/store.db").await;
    let said =
        "sqlite:/proc/store.db: cannot open the store `/proc/store.db`: its folder and the file must be writable";
    doctor(&home).await.names_with("store", said, "session.store");
    let (home, _recorder) = stored(&mosaic, "sqlite:diary.txt").await;
    home.write("diary.txt", "Dear diary, today I learned about SQLite and its format of files.\n");
    doctor(&home).await.names_with("store", "sqlite:diary.txt: cannot read the store `", "session.store");
}

#[tokio::test]
async fn a_store_file_that_is_not_there_yet_is_left_to_the_gateway() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    let said = "sqlite:store.db: not there yet, and can be made";
    assert_eq!(doctor(&home).await.only("store"), ["ok", said, ""]);
    let names = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["gateway.toml"]);
}

#[tokio::test]
async fn a_redis_that_is_away_closed_or_read_only_is_named() {
    let mosaic = mosaic().await;
    let away = format!("redis://{}", closed_port().await);
    let (home, _recorder) = stored(&mosaic, &away).await;
    let found = doctor(&home).await;
    found.names_with("store", &format!("{away}: cannot reach the store: "), "session.store");

    let server = RedisServer::start();
    let location = server.location("doctor");
    let (home, _recorder) = stored(&mosaic, &location).await;
    assert_eq!(doctor(&home).await.only("store")[0], "ok");
    assert_eq!(server.command("REPLICAOF 127.0.0.1 1"), "+OK");
    let found = doctor(&home).await;
    found.names_with("store", &format!("{location}: cannot write to the store: "), "session.store");
    assert_eq!(server.command("REPLICAOF NO ONE"), "+OK");
    assert_eq!(server.command("CONFIG SET requirepass swordfish"), "+OK");
    home.write("password", "herring");
    change(&home, &[(&location, &format!("{location}&password_file=password"))]);
    let found = doctor(&home).await;
    let [status, message, setting] = found.only("store");
    assert_eq!((status, setting), ("fail", "session.store"), "{message}");
    assert!(message.contains("assword") && !message.contains("herring"), "{message}");
}

#[tokio::test]
async fn an_application_that_is_away_is_named() {
    let (mosaic, closed) = (mosaic().await, closed_port().await);
    let text = before(mosaic.address(), &configuration(closed));
    let more = "\n[[route]]\npath = \"/a\"\nupstream = \"http://nowhere.invalid\"\n\
                [[route]]\npath = \"/b\"\nupstream = \"demo\"\n";
    let found = doctor(&Home::with(&format!("{text}{more}"))).await;
    let [first, second] = found.all("upstream").try_into().unwrap();
    let said = format!("http://{closed}: the connection is refused: nothing listens there");
    assert_eq!(first, ["fail", said.as_str(), "route[0].upstream"]);
    assert!(second[1].starts_with("http://nowhere.invalid: the name cannot be resolved ("), "{second:?}");
    assert_eq!((second[0], second[2], found.0), ("fail", "route[1].upstream", Some(1)));
    assert_eq!(
        found.only("store"),
        ["warn", "memory: sessions and users are gone when linkgate ends", "session.store"]
    );
}

#[tokio::test]
async fn a_mail_server_that_is_away_or_refuses_the_login_is_named() {
    let (host, recorder) = (Host::new(), Recorder::start().await);
    let settings = [("\"memory\"", "\"sqlite:store.db\""), ("mailbox = true\n", ""), ("\"*\"", "")];
    let text = replaced(&configuration(recorder.address), &settings);
    let home = Home::with(&format!("{text}{}", host.toml()));
    let server = format!("localhost:{}", host.port);
    let away = format!("{server}: failed to connect: ");
    doctor(&home).await.names_with("mail", &away, "issuer.mail.server");

    let _running = host.start(Manner::USUAL).await;
    assert_eq!(doctor(&home).await.only("mail"), ["ok", format!("{server}: reached, and logged in").as_str(), ""]);
    let trusting = host.toml();
    let distrusting = trusting.lines().filter(|line| !line.starts_with("certificate_authority_file"));
    let distrusting = Home::with(&format!("{text}{}\n", distrusting.collect::<Vec<_>>().join("\n")));
    let unknown = format!("{server}: failed to start TLS: ");
    doctor(&distrusting).await.names_with("mail", &unknown, "issuer.mail.certificate_authority_file");
    host.write_password("wrong");
    let refused = format!("{server}: failed to log in: ");
    doctor(&home).await.names_with("mail", &refused, "issuer.mail.password_file");
}

#[tokio::test]
async fn an_issuer_that_runs_alone_is_known_by_what_it_says_of_itself() {
    let (port, admin) = (free_port(), free_port());
    let text = format!(
        "public_url = \"http://localhost:{port}\"\nlisten = \"127.0.0.1:{port}\"\n\
         [admin]\nlisten = \"127.0.0.1:{admin}\"\n[issuer]\nmailbox = true\n"
    );
    let home = Home::with(&text);
    let issuer = Process::spawn(home.command(&["issuer"]));
    issuer.text_line("the issuer is running").await;
    assert_eq!(home.run(&["users", "add", "ada@example.com"]).await.code, Some(0));
    let found = doctor(&home).await;
    for (check, said) in [
        ("listen", format!("127.0.0.1:{port}: linkgate runs here")),
        ("admin", format!("127.0.0.1:{admin}: linkgate runs here")),
        ("public address", format!("http://localhost:{port}: leads to the issuer")),
        ("store", "sqlite:linkgate.db: written and read".to_owned()),
        ("issuer", "built in: it starts, and gives tokens that hold".to_owned()),
    ] {
        assert_eq!(found.only(check), ["ok", said.as_str(), ""]);
    }
    assert_eq!(found.0, Some(0));
}

#[tokio::test]
async fn a_port_for_other_programs_that_is_taken_is_named() {
    let other = Recorder::start().await;
    let text = configuration(other.address);
    let port = other.address.port();
    let listen = format!("mailbox = true\nlisten = \"127.0.0.1:{port}\"");
    let home = Home::with(&replaced(&text, &[("mailbox = true", &listen)]));
    let said = format!("127.0.0.1:{port}: another program uses port {port}");
    doctor(&home).await.names("issuer listen", &said, "issuer.listen");
}

#[tokio::test]
async fn what_is_only_doubtful_is_a_warning() {
    let mosaic = mosaic().await;
    let (home, _recorder) = home(mosaic.address()).await;
    let secret = home.path().join("secret");
    home.write("secret", stand_in::CLIENT_SECRET);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = std::fs::read_to_string(home.path().join("gateway.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("client_secret_file")).unwrap();
    let trust = "trusted_proxies = [\"0.0.0.0/0\"]\npublic_url = \"http://localhost:1\"";
    change(
        &home,
        &[
            (line, "client_secret_file = \"secret\""),
            ("public_url = \"https://app.example.test\"", trust),
            ("[mosaic]", "[limits]\nconnections = 100000000\n[mosaic]"),
        ],
    );
    let found = doctor(&home).await;
    let [proxies, secret] = found.all("configuration").try_into().unwrap();
    assert_eq!((proxies[0], proxies[2]), ("warn", "trusted_proxies[0]"));
    assert_eq!((secret[0], secret[2]), ("warn", "mosaic.client_secret_file"));
    assert!(secret[1].contains("other users of this machine can read or change the secret"), "{secret:?}");
    let files = found.only("open files");
    assert_eq!((files[0], files[2]), ("warn", "limits.connections"));
    assert!(files[1].contains(" may be open, and 100000000 connections need 200000064; raise the limit"), "{files:?}");
    assert_eq!(found.0, Some(0), "a warning is no failure");
}
