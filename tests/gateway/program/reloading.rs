//! The program goes over to another configuration: when SIGHUP asks for it, and when a file changed.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;

use http::StatusCode;

use super::{Home, Process, Program};
use crate::harness::{PATIENCE, configuration, eventually};
use crate::recorder::Recorder;

const RELOADED: &str = "the configuration was reloaded";

async fn recorder_and(settings: &str) -> (Recorder, String) {
    let recorder = Recorder::start().await;
    let text = configuration(recorder.address).replace("\"memory\"", "\"sqlite:store.db\"");
    (recorder, text.replace("[admin]", &format!("{settings}[admin]")))
}

const PUBLIC: &str = "access = \"public\"\nwhole_site = true\n";

impl Program {
    async fn status(&self) -> StatusCode {
        self.visitor().program().open("/").await.status
    }

    async fn metric(&self, name: &str) -> String {
        let metrics = self.admin("/metrics").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).to_owned()
    }
}

#[tokio::test]
async fn a_signal_has_the_file_read_again() {
    let (_recorder, text) = recorder_and("[reload]\nwatch = false\n").await;
    let home = Home::with(&text);
    let program = home.start().await;
    let ada = program.signed_in("ada@example.com").await;
    assert_eq!(program.status().await, StatusCode::UNAUTHORIZED);
    program.process.signal("HUP");
    let same = program.process.line("the configuration was read again and is the same").await;

    let waits = text.replace("[issuer]", "[log]\nlevel = \"debug\"\n[issuer]\nkey_lifetime = \"9d\"");
    home.write("gateway.toml", &format!("{waits}{PUBLIC}[sign_in]\nallow = [\"bob@example.com\"]\n"));
    program.process.signal("HUP");
    let line = program.process.line(RELOADED).await;
    assert_eq!((&line["applied"], &line["waiting"]), (&4.into(), &1.into()), "{line}");
    assert_ne!(line["config.hash"], same["config.hash"]);
    let hash = line["config.hash"].as_str().unwrap();
    assert_eq!(program.metric("linkgate_config_info").await, format!("{{hash=\"{hash}\"}} 1"));
    assert_eq!(program.process.line("log.level changes from info to debug").await["level"], "INFO");
    assert_eq!(program.process.line("route localhost/ becomes public").await["level"], "WARN");
    program.process.text_line("issuer.key_lifetime changes from 30d to 9d: waits for a restart").await;
    program.process.text_line("sign_in.allow gains an address").await;
    assert_eq!(program.status().await, StatusCode::OK);
    assert_eq!(program.again(&ada).program().open("/.linkgate/session").await.status, StatusCode::UNAUTHORIZED);

    program.process.signal("TERM");
    let ended = program.process.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("bob@example.com"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_file_that_changed_is_read_a_broken_one_is_not_used_and_a_mended_one_is() {
    let (_recorder, text) = recorder_and("").await;
    let home = Home::with(&text);
    let program = home.start().await;
    assert_eq!(program.metric("linkgate_config_last_reload_successful ").await, "1");

    home.write("gateway.toml", &format!("{text}acess = \"public\"\n"));
    let problem = program.process.line("did you mean `access`").await;
    assert_eq!(problem["level"], "ERROR");
    assert!(problem["message"].as_str().unwrap().contains("route[0].acess"), "{problem}");
    program.process.text_line("the configuration was not reloaded").await;
    assert_eq!(program.metric("linkgate_config_last_reload_successful ").await, "0");
    assert_eq!(program.status().await, StatusCode::UNAUTHORIZED);

    home.write("gateway.toml", &format!("{text}{PUBLIC}"));
    program.process.text_line(RELOADED).await;
    assert_eq!(program.metric("linkgate_config_last_reload_successful ").await, "1");
    assert_eq!(program.status().await, StatusCode::OK);
    let refused = program.process.log().iter().filter(|line| line.contains("was not reloaded")).count();
    assert_eq!(refused, 1, "the same mistake is told of once");
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_and_a_file_that_is_named_are_seen_as_well() {
    let logo = "[theme]\nlogo = \"logo.svg\"\n";
    let (_recorder, text) = recorder_and(logo).await;
    let home = Home::with("");
    home.write("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    home.write("one.toml", &text);
    home.write("two.toml", &format!("{text}{PUBLIC}"));
    let file = home.path().join("gateway.toml");
    let lead_to = |name: &str| {
        let link = home.path().join("new");
        symlink(name, &link).unwrap();
        std::fs::rename(link, &file).unwrap();
    };
    lead_to("one.toml");
    let program = home.start().await;
    lead_to("two.toml");
    eventually(async || program.status().await == StatusCode::OK).await;

    home.write("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><path/></svg>");
    program.process.text_line("the content of theme.logo changed").await;
    let shown = async || program.visitor().open("/.linkgate/assets/logo").await.body.contains("<path/>");
    eventually(shown).await;

    // What mends this mistake is a file that the configuration in use does not name.
    home.write("one.toml", &text.replace("logo.svg", "other.svg"));
    lead_to("one.toml");
    program.process.text_line("the configuration was not reloaded").await;
    home.write("other.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><g/></svg>");
    program.process.text_line("theme.logo changes from").await;
    assert_eq!(program.status().await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn systemd_is_told() {
    let (_recorder, text) = recorder_and("").await;
    let home = Home::with(&text);
    let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("something is told");
        String::from_utf8_lossy(&bytes[..length]).lines().next().unwrap_or_default().to_owned()
    };
    let mut command = home.command(&[]);
    command.env("NOTIFY_SOCKET", home.path().join("notify"));
    let process = Process::spawn(command);
    assert_eq!(told(), "READY=1");
    process.signal("HUP");
    assert_eq!([told(), told()], ["RELOADING=1", "READY=1"]);
    process.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(process.ended().await.code, Some(0));
}
