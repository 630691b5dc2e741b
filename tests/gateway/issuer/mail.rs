//! Real mail: a real mail server over real sockets, with everything that can be wrong about it.

use linkgate::telemetry::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::harness::eventually;
use crate::smtp_server::{Host, Manner, header, link};

/// The worker of one issuer.
struct Mailing {
    metrics: Arc<Metrics>,
    trouble: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Mailing {
    fn of(world: &World) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (told, trouble) = watch::channel(None);
        let (stop, stopping) = watch::channel(false);
        let (issuer, counted) = (world.issuer.clone(), Arc::clone(&metrics));
        let tell = move |reason| drop(told.send_replace(reason));
        let task = tokio::spawn(async move { issuer.run_mail(stopping, counted, tell).await });
        Self { metrics, trouble, stop, task }
    }

    /// How many mails had this outcome.
    fn counted(&self, outcome: &str) -> u64 {
        let name = format!("linkgate_issuer_mails_total{{outcome=\"{outcome}\"}} ");
        self.metrics.render().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
    }

    /// Why no mail goes out, once there is a reason.
    async fn trouble(&self) -> String {
        let mut trouble = self.trouble.clone();
        let found = tokio::time::timeout(crate::harness::PATIENCE, trouble.wait_for(Option::is_some)).await;
        found.expect("there is trouble").unwrap().clone().unwrap()
    }

    /// Waits until so many attempts failed.
    async fn retried(&self, count: u64) {
        eventually(async || self.counted("retried") >= count).await;
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(crate::harness::PATIENCE, self.task).await.expect("the worker stops").unwrap();
    }
}

fn with_mail(mail: &Value) -> Config {
    let ada = json!({ "email": "ada@example.com" });
    let bob = json!({ "email": "bob@example.com" });
    serde_json::from_value(json!({ "mail": mail, "user": [ada, bob] })).unwrap()
}

async fn world(host: &Host) -> World {
    World::with(with_mail(&host.settings()), settings()).await
}

impl World {
    async fn send_to(&self, email: &str) {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let attributes = json!({ "user_agent": agent, "ip_address": "192.0.2.7" });
        let call = json!({ "email": email, "redirect_uri": REDIRECT_URI, "client_attributes": attributes });
        self.post(SEND, &call).await.expect(200);
    }

    async fn queue_is_empty(&self) {
        eventually(async || self.store.index_members("issuer/mail_queue").await.unwrap().is_empty()).await;
    }

    /// What lies in the store of the mails that wait.
    async fn queued(&self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for id in self.store.index_members("issuer/mail_queue").await.unwrap() {
            records.extend(self.store.get(&format!("issuer/queued_mail/{id}")).await.unwrap());
        }
        records
    }
}

#[tokio::test]
async fn a_mail_arrives_whole_over_starttls_with_a_login() {
    let host = Host::new();
    let server = host.start(Manner::USUAL).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;

    let mail = server.mails(1).await.remove(0);
    assert_eq!((&mail["tls"], &mail["account"], &mail["defects"]), (&json!(true), &json!(true), &json!([])));
    assert_eq!(mail["sender"], "noreply@mail.example.com");
    assert_eq!(mail["recipients"], json!(["ada@example.com"]));
    assert_eq!(server.events("hello").pop().unwrap()["name"], "app.example.com");
    let expected = [
        ("From", "Acme <noreply@mail.example.com>"),
        ("To", "ada@example.com"),
        ("Subject", "Sign in to Acme (10:20 UTC)"),
        ("Date", "Mon, 04 May 2026 10:20:30 +0000"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("Content-Language", "en"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&mail, name), Some(value), "{name}");
    }
    let id = header(&mail, "Message-ID").unwrap();
    assert!(id.starts_with('<') && id.ends_with("@mail.example.com>"), "{id}");
    assert_eq!((header(&mail, "Reply-To"), header(&mail, "List-Unsubscribe")), (None, None));
    assert_eq!(mail["type"], "multipart/alternative");
    let [text, html] = ["text/plain", "text/html"].map(|part| mail["parts"][part].as_str().unwrap().to_owned());
    for fact in [link(&mail), "10:20", "10:30", "Firefox on Linux", "192.0.2.7", "Please don"] {
        assert!(text.contains(fact) && html.contains(fact), "{fact} in {text} and {html}");
    }
    assert!(mail["raw"].as_str().unwrap().len() < 30_000);

    let token = link(&mail).split_once("token=").unwrap().1;
    assert!(world.press(token).await.expect(303).parameter("code").is_some());
    world.queue_is_empty().await;
    assert_eq!(mailing.counted("sent"), 1);
}

#[tokio::test]
async fn a_mail_arrives_over_tls_from_the_first_byte() {
    let host = Host::new();
    let server = host.start(Manner { security: "tls", ..Manner::USUAL }).await;
    let mut mail = host.settings();
    mail["security"] = json!("tls");
    let world = World::with(with_mail(&mail), settings()).await;
    let _mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    let mail = server.mails(1).await.remove(0);
    assert_eq!((&mail["tls"], &mail["account"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn a_server_on_this_machine_may_want_neither_tls_nor_login() {
    let host = Host::new();
    let server = host.start(Manner { security: "none", password: None, ..Manner::USUAL }).await;
    let mail = json!({
        "server": format!("127.0.0.1:{}", host.port),
        "security": "none",
        "from": "noreply@mail.example.com",
        "reply_to": "help@example.com",
    });
    let world = World::with(with_mail(&mail), settings()).await;
    world.send_to("ada@example.com").await;
    let _mailing = Mailing::of(&world);
    let mail = server.mails(1).await.remove(0);
    assert_eq!(header(&mail, "Reply-To"), Some("help@example.com"));
}

#[tokio::test]
async fn a_login_that_is_refused_loses_nothing() {
    let host = Host::new();
    let server = host.start(Manner { password: Some("another"), ..Manner::USUAL }).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    assert_eq!(mailing.trouble().await, "failed to log in: the server answered 535 5.7.8");
    assert_eq!(server.logins(1).await[0]["tls"], true);
    drop(server);

    let server = host.start(Manner::USUAL).await;
    world.clock.advance(Duration::from_secs(5));
    server.mails(1).await;
    world.queue_is_empty().await;
    assert_eq!(*mailing.trouble.borrow(), None);
    assert_eq!((mailing.counted("sent"), mailing.counted("refused")), (1, 0));
}

#[tokio::test]
async fn a_wrong_password_is_mended_without_a_restart() {
    let host = Host::new();
    host.write_password("wrong");
    let server = host.start(Manner::USUAL).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    mailing.trouble().await;
    host.write_password(crate::smtp_server::PASSWORD);
    world.clock.advance(Duration::from_secs(5));
    server.mails(1).await;
}

#[tokio::test]
async fn mails_wait_for_a_server_that_is_down_and_arrive_once() {
    let host = Host::new();
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    for email in ["ada@example.com", "bob@example.com", "ada@example.com"] {
        world.send_to(email).await;
    }
    assert!(mailing.trouble().await.starts_with("failed to connect: "));
    // The pause grows, and each time one mail asks for all.
    world.clock.advance(Duration::from_secs(60));
    mailing.retried(2).await;
    world.clock.advance(Duration::from_secs(21));
    assert_eq!(world.queued().await.len(), 3);

    let server = host.start(Manner::USUAL).await;
    world.clock.advance(Duration::from_secs(60));
    server.mails(3).await;
    world.queue_is_empty().await;
    assert_eq!((server.events("mail").len(), mailing.counted("sent"), mailing.counted("expired")), (3, 3, 0));
    eventually(async || mailing.metrics.render().contains("linkgate_issuer_mails_queued 0")).await;
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing() {
    let host = Host::new();
    let server = host.start(Manner { security: "none", password: None, ..Manner::USUAL }).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    let expected = "failed to start TLS: internal client error: STARTTLS is not supported on this server";
    assert_eq!(mailing.trouble().await, expected);
    assert_eq!((server.events("login").len(), server.events("mail").len()), (0, 0));
    assert_eq!(world.queued().await.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_nothing() {
    for security in ["starttls", "tls"] {
        let host = Host::new();
        let server = host.start(Manner { security, ..Manner::USUAL }).await;
        let untrusted = json!({ "certificate_authority_file": null });
        let other_name = json!({ "server": format!("127.0.0.1:{}", host.port) });
        for (change, expected) in [(untrusted, "UnknownIssuer"), (other_name, "not valid for")] {
            let mut mail = host.settings();
            mail["security"] = json!(security);
            mail.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let world = World::with(with_mail(&mail), settings()).await;
            let mailing = Mailing::of(&world);
            world.send_to("ada@example.com").await;
            let trouble = mailing.trouble().await;
            assert!(trouble.contains(expected), "{security}: {trouble}");
        }
        assert_eq!((server.events("login").len(), server.events("mail").len()), (0, 0), "{security}");
    }
}

#[tokio::test]
async fn a_mail_whose_link_has_expired_is_not_sent() {
    let host = Host::new();
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    mailing.trouble().await;
    world.clock.advance(Duration::from_secs(600));
    let server = host.start(Manner::USUAL).await;
    world.send_to("bob@example.com").await;
    assert_eq!(server.mails(1).await[0]["recipients"], json!(["bob@example.com"]));
    world.queue_is_empty().await;
    assert_eq!((mailing.counted("expired"), mailing.counted("sent")), (1, 1));
    assert_eq!(server.events("mail").len(), 1);
}

#[tokio::test]
async fn a_refused_recipient_is_given_up_and_holds_nobody_up() {
    let host = Host::new();
    let server = host.start(Manner { refused: Some("ada@example.com"), ..Manner::USUAL }).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    world.send_to("bob@example.com").await;
    assert_eq!(server.mails(1).await[0]["recipients"], json!(["bob@example.com"]));
    world.queue_is_empty().await;
    assert_eq!((mailing.counted("refused"), mailing.counted("retried")), (1, 0));
    assert_eq!((server.events("refused").len(), mailing.trouble.borrow().is_none()), (1, true));
}

#[tokio::test]
async fn a_recipient_that_is_busy_gets_the_mail_a_little_later() {
    let host = Host::new();
    let server = host.start(Manner { busy: Some("ada@example.com"), ..Manner::USUAL }).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    world.send_to("bob@example.com").await;
    assert_eq!(server.mails(1).await[0]["recipients"], json!(["bob@example.com"]));
    mailing.retried(1).await;
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(server.mails(2).await[1]["recipients"], json!(["ada@example.com"]));
    assert_eq!(server.events("busy").len(), 1);
}

#[tokio::test]
async fn two_issuers_over_one_store_send_each_mail_once() {
    let host = Host::new();
    let server = host.start(Manner::USUAL).await;
    let first = world(&host).await;
    let second = first.again(with_mail(&host.settings()), settings()).await;
    for number in 0..10 {
        let email = if number % 2 == 0 { "ada@example.com" } else { "bob@example.com" };
        first.send_to(email).await;
    }
    let mailings = [Mailing::of(&first), Mailing::of(&second)];
    server.mails(10).await;
    first.queue_is_empty().await;
    let [one, other] = mailings.each_ref().map(|mailing| mailing.counted("sent"));
    assert_eq!(one + other, 10);
    for mailing in mailings {
        mailing.stop().await;
    }
    let mut ids: Vec<_> =
        server.mails(10).await.iter().map(|mail| header(mail, "Message-ID").unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn what_is_queued_outlives_a_restart_with_another_password() {
    let host = Host::new();
    host.write_password("wrong");
    let server = host.start(Manner::USUAL).await;
    let world = world(&host).await;
    let mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    assert!(mailing.trouble().await.starts_with("failed to log in: "));
    mailing.stop().await;
    assert_eq!(world.queued().await.len(), 1);

    host.write_password(crate::smtp_server::PASSWORD);
    let again = world.again(with_mail(&host.settings()), settings()).await;
    let _mailing = Mailing::of(&again);
    let mail = server.mails(1).await.remove(0);
    let token = link(&mail).split_once("token=").unwrap().1.to_owned();
    assert!(again.press(&token).await.expect(303).parameter("code").is_some());
}

#[tokio::test]
async fn what_an_issuer_that_died_was_sending_is_sent_by_another() {
    let host = Host::new();
    let server = host.start(Manner::USUAL).await;
    let world = world(&host).await;
    world.send_to("ada@example.com").await;
    // It had taken the lease.
    let id = world.store.index_members("issuer/mail_queue").await.unwrap().remove(0);
    let until = world.clock.now().plus(Duration::from_secs(20));
    assert!(world.store.put_if_absent(&format!("issuer/queued_mail_lease/{id}"), b"", until).await.unwrap());
    let _mailing = Mailing::of(&world);
    world.send_to("bob@example.com").await;
    assert_eq!(server.mails(1).await[0]["recipients"], json!(["bob@example.com"]));
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(server.mails(2).await[1]["recipients"], json!(["ada@example.com"]));
}

#[tokio::test]
async fn names_of_strangers_make_no_header() {
    let host = Host::new();
    let server = host.start(Manner::USUAL).await;
    let hostile = "Zoë \"山田\" <eve@example.net>,\r\nBcc: eve@example.net\r\n\r\nHello";
    let shown = "Zoë \"山田\" <eve@example.net>,  Bcc: eve@example.net    Hello";
    let settings = Settings { app_name: hostile.to_owned(), ..settings() };
    let world = World::with(with_mail(&host.settings()), settings).await;
    let _mailing = Mailing::of(&world);
    world.send_to("ada@example.com").await;
    let mail = server.mails(1).await.remove(0);
    // Python is not sure about the blanks between two encoded words of a name.
    let solid = |text: &str| text.replace(' ', "");
    assert_eq!(solid(mail["name"].as_str().unwrap()), solid(shown));
    assert_eq!(mail["recipients"], json!(["ada@example.com"]));
    assert_eq!(header(&mail, "Subject"), Some(&*format!("Sign in to {shown} (10:20 UTC)")));
    assert_eq!((header(&mail, "Bcc"), &mail["defects"]), (None, &json!([])));
    assert!(mail["raw"].as_str().unwrap().is_ascii());

    let content = json!({ "subject": hostile, "bodyText": hostile, "senderName": "Eve\r\nBcc: eve@example.net" });
    let call = json!({ "email": "bob@example.com", "redirect_uri": REDIRECT_URI, "email_content": content });
    world.post(SEND, &call).await.expect(200);
    let mail = server.mails(2).await.remove(1);
    assert_eq!(solid(mail["name"].as_str().unwrap()), "EveBcc:eve@example.net");
    assert_eq!(header(&mail, "Subject"), Some(shown));
    assert_eq!((header(&mail, "Bcc"), &mail["recipients"]), (None, &json!(["bob@example.com"])));
    assert!(mail["parts"]["text/plain"].as_str().unwrap().contains("Bcc: eve@example.net"));
    assert!(!mail["parts"]["text/html"].as_str().unwrap().contains("<eve@"));
}

#[tokio::test]
async fn a_server_can_be_tried_out_without_a_mail() {
    let host = Host::new();
    let config: linkgate::issuer::MailConfig = serde_json::from_value(host.settings()).unwrap();
    assert!(config.probe("app.example.com").await.unwrap_err().starts_with("failed to connect: "));
    let server = host.start(Manner::USUAL).await;
    assert_eq!(config.probe("app.example.com").await, Ok(()));
    host.write_password("wrong");
    let refused = Err("failed to log in: the server answered 535 5.7.8".to_owned());
    assert_eq!(config.probe("app.example.com").await, refused);
    assert_eq!((server.logins(2).await.len(), server.events("mail").len()), (2, 0));
}

#[tokio::test]
async fn a_store_that_fails_is_said_to_the_caller_and_the_worker_goes_on() {
    use crate::failing_store::{Failing, unavailable};

    let host = Host::new();
    let server = host.start(Manner::USUAL).await;
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_777_890_030));
    let failing = Failing::new(clock.clone());
    let store: store::Shared = failing.clone();
    share_key(&store).await;
    let world = World::over(with_mail(&host.settings()), settings(), store, clock).await;
    let mailing = Mailing::of(&world);
    failing.fail_when(|call, key| (call == "put" && key.starts_with("issuer/queued_mail/")).then(unavailable));
    let call = json!({ "email": "ada@example.com", "redirect_uri": REDIRECT_URI });
    world.post(SEND, &call).await.expect(503);

    // The mail is gone, and the queue cannot be told: it is not sent again.
    failing.fail_when(|call, key| (call == "remove" && key.starts_with("issuer/queued_mail/")).then(unavailable));
    world.send_to("bob@example.com").await;
    server.mails(1).await;
    world.clock.advance(Duration::from_secs(5));
    failing.work();
    world.queue_is_empty().await;
    assert_eq!((server.events("mail").len(), mailing.counted("sent")), (1, 1));
}
