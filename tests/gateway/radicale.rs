//! A real application: Radicale, a calendar server from PyPI, with the files of `examples/radicale` and nothing changed
//! in them but ports and folders.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use http::{Method, StatusCode};

use crate::harness::{Answer, Visitor};
use crate::program::{Home, Process, Program, replaced};
use crate::python::python_with;

const REQUIREMENTS: &str = "examples/radicale/requirements.txt";
const CONFIG: &str = include_str!("../../examples/radicale/config");
const GATEWAY: &str = include_str!("../../examples/radicale/gateway.toml");

/// Radicale with linkgate before it.
struct Calendars {
    program: Program,
    radicale: Process,
    address: SocketAddr,
    _home: Home,
}

impl Calendars {
    async fn start() -> Self {
        let python = tokio::task::spawn_blocking(|| python_with("radicale", REQUIREMENTS)).await.unwrap();
        // Somebody else may take a port between finding and using it.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let gateway = replaced(
                GATEWAY,
                &[
                    ("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\""),
                    ("listen = \"127.0.0.1:9180\"", "listen = \"127.0.0.1:0\""),
                    ("127.0.0.1:5232", &address.to_string()),
                ],
            );
            let home = Home::with(&gateway);
            let collections = home.path().join("collections").display().to_string();
            let config = [
                ("hosts = 127.0.0.1:5232", &*format!("hosts = {address}")),
                ("target/radicale/collections", &collections),
            ];
            home.write("config", &replaced(CONFIG, &config));
            let mut command = Command::new(&python);
            command.args(["-m", "radicale", "--config", "config"]).current_dir(home.path()).stdin(Stdio::null());
            let radicale = Process::spawn(command);
            if radicale.find_line("Radicale server ready").await.is_some() {
                return Self { program: home.start().await, radicale, address, _home: home };
            }
        }
        panic!("Radicale finds no free port");
    }

    /// Speaks WebDAV as `visitor`, with further header fields.
    async fn ask(&self, visitor: &Visitor, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut visitor = visitor.program();
        visitor.send(Method::from_bytes(method.as_bytes()).unwrap(), path, fields, body).await
    }

    /// Whom Radicale takes `visitor` for: the path of their principal.
    async fn principal(&self, visitor: &Visitor, fields: &[(&str, &str)]) -> String {
        let body = r#"<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>"#;
        let mut all = vec![("depth", "0"), ("content-type", "application/xml")];
        all.extend(fields);
        let answer = self.ask(visitor, "PROPFIND", "/", &all, body).await;
        assert_eq!(answer.status, StatusCode::MULTI_STATUS, "{answer:?}");
        let found = answer.body.split_once("<current-user-principal>").map_or("", |(_, rest)| rest);
        let found = found.split_once("</current-user-principal>").map_or("", |(found, _)| found);
        found.trim_start_matches("<href>").trim_end_matches("</href>").replace("%40", "@")
    }
}

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//linkgate//story//EN\r\nBEGIN:VEVENT\r\nUID:tea-1\r\n\
    DTSTAMP:20270115T080000Z\r\nDTSTART:20270115T160000Z\r\nDTEND:20270115T170000Z\r\nSUMMARY:Tea with Charles\r\n\
    END:VEVENT\r\nEND:VCALENDAR\r\n";
const CALENDAR: &str = "/ada@example.com/tea/";
const TEA: &str = "/ada@example.com/tea/tea-1.ics";
const TYPE: (&str, &str) = ("content-type", "text/calendar");

#[tokio::test]
async fn radicale_keeps_everybodys_calendar_for_themselves() {
    let calendars = Calendars::start().await;
    let ada = calendars.program.signed_in("ada@example.com").await;
    let bob = calendars.program.signed_in("bob@example.com").await;
    assert_eq!(calendars.principal(&ada, &[]).await, "/ada@example.com/");
    assert_eq!(calendars.principal(&bob, &[]).await, "/bob@example.com/");

    let pages = calendars.ask(&ada, "GET", "/", &[], "").await;
    assert_eq!((pages.status, pages.header("location")), (StatusCode::FOUND, "/.web"));
    let settings = calendars.ask(&ada, "GET", "/.web/js/config.js", &[], "").await;
    assert_eq!(settings.body, "export const PREFER_BROWSER_LOGIN = true;\n", "its pages ask for no password");

    let made = calendars.ask(&ada, "MKCALENDAR", CALENDAR, &[], "").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let put = calendars.ask(&ada, "PUT", TEA, &[TYPE], EVENT).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    let got = calendars.ask(&ada, "GET", TEA, &[], "").await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.body.contains("SUMMARY:Tea with Charles"), "{got:?}");
    // Radicale compares the host of `Destination` with the one that the gateway tells it.
    let moved = "/ada@example.com/tea/moved.ics";
    let destination = [("destination", "http://localhost:8080/ada@example.com/tea/moved.ics")];
    assert_eq!(calendars.ask(&ada, "MOVE", TEA, &destination, "").await.status, StatusCode::CREATED);
    assert_eq!(calendars.ask(&ada, "GET", moved, &[], "").await.status, StatusCode::OK);

    for (method, path) in
        [("GET", moved), ("DELETE", moved), ("PUT", TEA), ("DELETE", CALENDAR), ("PROPFIND", CALENDAR)]
    {
        let body = if method == "PUT" { EVENT } else { "" };
        let refused = calendars.ask(&bob, method, path, &[TYPE], body).await;
        assert!(matches!(refused.status.as_u16(), 403 | 404), "{method} {path}: {refused:?}");
        assert!(!refused.body.contains("Tea"), "{refused:?}");
    }
    let kept = calendars.ask(&ada, "GET", moved, &[], "").await;
    assert_eq!(kept.body, got.body, "nobody else changed it");
}

#[tokio::test]
async fn no_header_of_bobs_makes_him_ada() {
    let calendars = Calendars::start().await;
    let bob = calendars.program.signed_in("bob@example.com").await;
    let ada = "ada@example.com";
    for forged in [
        &[("Remote-User", ada)][..],
        &[("REMOTE-USER", ada), ("remote-user", ada)],
        &[("remote_user", ada)],
        &[("Remote_User", ada), ("Remote-User", ada), ("Remote.User", ada)],
        &[("X-Remote-User", ada), ("x_remote_user", ada)],
        &[("HTTP_REMOTE_USER", ada), ("Http-Remote-User", ada)],
        &[("Remote-User", ada), ("Connection", "Remote-User")],
        &[("Authorization", "Basic YWRhQGV4YW1wbGUuY29tOng=")],
        &[("Remote-Email", ada), ("Remote-Name", ada), ("X-Forwarded-User", ada), ("X-Forwarded-Email", ada)],
    ] {
        assert_eq!(calendars.principal(&bob, forged).await, "/bob@example.com/", "{forged:?}");
    }

    // The story would prove nothing if Radicale did not believe the header: whoever reaches it directly is Ada.
    let direct = Visitor::new(calendars.address);
    assert_eq!(calendars.principal(&direct, &[("Remote-User", ada)]).await, "/ada@example.com/");
}

#[tokio::test]
async fn radicale_hears_nothing_of_who_is_not_signed_in() {
    let calendars = Calendars::start().await;
    let stranger = calendars.program.visitor();
    let forged = [("remote-user", "ada@example.com"), ("authorization", "Basic YWRhQGV4YW1wbGUuY29tOng=")];
    for method in ["PROPFIND", "MKCALENDAR", "PUT", "GET", "DELETE", "REPORT", "OPTIONS"] {
        let refused = calendars.ask(&stranger, method, "/stranger/", &forged, "").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{method}: {refused:?}");
    }
    let led = calendars.program.visitor().open("/stranger/").await;
    assert_eq!(led.location(), "/.linkgate/sign-in?return_to=%2Fstranger%2F");

    let mut ada = calendars.program.signed_in("ada@example.com").await;
    let page = ada.open("/.linkgate/sign-out").await;
    let signed_in = ada.clone();
    ada.post("/.linkgate/sign-out", &[("csrf", &page.field("csrf"))]).await;
    let refused = calendars.ask(&signed_in, "PROPFIND", "/stranger/", &[], "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "her old cookie opens nothing any more");

    let bob = calendars.program.signed_in("bob@example.com").await;
    calendars.ask(&bob, "GET", "/bob@example.com/last.ics", &[], "").await;
    calendars.radicale.text_line("last.ics").await;
    let heard = calendars.radicale.log().iter().filter(|line| line.contains("request for")).count();
    let strangers = calendars.radicale.log().iter().filter(|line| line.contains("stranger")).count();
    assert_eq!((heard, strangers), (1, 0), "{:#?}", calendars.radicale.log());
}
