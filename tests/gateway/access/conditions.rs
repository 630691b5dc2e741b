//! Where visitors are and what time it is, as far as a rule asks.

use std::time::Duration;

use http::Method;
use linkgate::clock::{Clock, Timestamp};
use tokio_tungstenite::tungstenite::Message;

use crate::failing_store::Failing;
use crate::harness::{Gate, START, Visitor, with_routes};
use crate::streams::{closed, echo, open, open_at};

const MINUTE: Duration = Duration::from_secs(60);

/// The status for a program that comes by way of proxies.
async fn status(visitor: &Visitor, path: &str, forwarded_for: &[&str]) -> u16 {
    let fields: Vec<_> = forwarded_for.iter().map(|list| ("X-Forwarded-For", *list)).collect();
    visitor.program().send(Method::GET, path, &fields, "").await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_is_that_of_the_client_address() {
    let routes = "[[route]]\nupstream = UPSTREAM\nallow = { networks = ['10.0.0.0/8', '2001:db8::/32'] }\n\
                  [[route]]\npath = '/open'\naccess = 'public'\ndeny = { networks = ['192.0.2.0/24'] }\nupstream = UPSTREAM\n\
                  [[route]]\npath = '/denied'\ndeny = { networks = ['192.0.2.0/24'] }\nupstream = UPSTREAM\n";
    let trusted = "trusted_proxies = ['127.0.0.1/32']\n";
    let gate = Gate::with(|text| format!("{trusted}{}", with_routes(&text, routes))).await;
    let ada = gate.signed_in("ada@example.com").await;
    for (forwarded_for, inside) in [
        (&["10.1.2.3"][..], true),
        (&["192.0.2.1, 10.1.2.3"], true),
        (&["192.0.2.1", "10.1.2.3"], true),
        (&["::ffff:10.1.2.3"], true),
        (&["2001:db8::1"], true),
        (&["10.1.2.3, 192.0.2.1"], false),
        (&["10.1.2.3", "192.0.2.1"], false),
        (&["10.1.2.3, nobody"], false),
        (&[], false),
    ] {
        let expected = if inside { 200 } else { 403 };
        assert_eq!(status(&ada, "/", forwarded_for).await, expected, "{forwarded_for:?}");
        assert_eq!(status(&gate.visitor(), "/", forwarded_for).await, 401, "{forwarded_for:?}");
    }
    for visitor in [&ada, &gate.visitor()] {
        assert_eq!(status(visitor, "/open", &["192.0.2.1"]).await, 403);
        assert_eq!(status(visitor, "/open", &["192.0.3.1"]).await, 200);
        assert_eq!(status(visitor, "/denied", &["192.0.2.1"]).await, 403, "signing in would not help");
    }
    assert_eq!(status(&gate.visitor(), "/denied", &["192.0.3.1"]).await, 401);

    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let ada = gate.signed_in("ada@example.com").await;
    assert_eq!(status(&ada, "/", &["10.1.2.3"]).await, 403, "what a stranger says of their address does not count");
}

/// The status at `minutes` after the beginning, for somebody who has just signed in.
async fn status_at(gate: &Gate, minutes: u64) -> u16 {
    gate.clock.set(START.plus(MINUTE * u32::try_from(minutes).unwrap()));
    let ada = gate.signed_in("ada@example.com").await;
    status(&ada, "/", &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_come_again_every_week() {
    let hours = "hours = { days = ['mon', 'fri'], from = '08:00', to = '18:00', zone = 'UTC' }";
    let routes = format!("[[route]]\nupstream = UPSTREAM\nallow = {{ {hours} }}\n");
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    // The story begins on Friday, 15 January 2027, at 08:00 UTC.
    const DAY: u64 = 24 * 60;
    for (minutes, expected) in [
        (0, 200),
        (599, 200),
        (600, 403),
        (DAY, 403),
        (2 * DAY + 120, 403),
        (3 * DAY - 1, 403),
        (3 * DAY, 200),
        (3 * DAY + 600, 403),
        (4 * DAY, 403),
        (7 * DAY - 1, 403),
        (7 * DAY, 200),
    ] {
        assert_eq!(status_at(&gate, minutes).await, expected, "after {minutes} minutes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_are_those_of_the_clock_on_the_wall_before_and_after_it_is_put_forward() {
    let hours = "hours = { from = '08:00', to = '17:00', zone = 'Europe/Berlin' }";
    let routes = format!("[[route]]\nupstream = UPSTREAM\nallow = {{ {hours} }}\n");
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let at = |moment: &str| Timestamp::from_http_date(moment).unwrap().since(START).as_secs() / 60;
    // Clocks are put forward in the night to Sunday, 28 March 2027.
    for (moment, expected) in [
        ("Sat, 27 Mar 2027 06:59:00 GMT", 403),
        ("Sat, 27 Mar 2027 07:00:00 GMT", 200),
        ("Sat, 27 Mar 2027 15:59:00 GMT", 200),
        ("Sat, 27 Mar 2027 16:00:00 GMT", 403),
        ("Sun, 28 Mar 2027 05:59:00 GMT", 403),
        ("Sun, 28 Mar 2027 06:00:00 GMT", 200),
        ("Sun, 28 Mar 2027 14:59:00 GMT", 200),
        ("Sun, 28 Mar 2027 15:00:00 GMT", 403),
    ] {
        assert_eq!(status_at(&gate, at(moment)).await, expected, "{moment}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_when_the_hours_do() {
    let until_nine = "hours = { to = '09:00', zone = 'UTC' }";
    let from_nine = "hours = { from = '09:00', zone = 'UTC' }";
    let routes = format!(
        "[[route]]\nupstream = 'demo'\nallow = {{ {until_nine} }}\n\
         [[route]]\npath = '/ws/open'\naccess = 'public'\ndeny = {{ {from_nine} }}\nupstream = 'demo'\n\
         [[route]]\npath = '/ws/always'\nallow = {{ domains = ['example.com'] }}\nupstream = 'demo'\n"
    );
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let ada = gate.signed_in("ada@example.com").await;
    let mut socket = open(&gate, &ada).await;
    let mut public = open_at(&gate, &gate.visitor(), "/ws/open").await;
    let mut always = open_at(&gate, &ada, "/ws/always").await;
    gate.clock.advance(MINUTE * 59);
    for socket in [&mut socket, &mut public, &mut always] {
        assert_eq!(echo(socket, "in time").await, Some(Message::text("in time")));
    }
    gate.clock.advance(MINUTE);
    closed(&mut socket).await;
    closed(&mut public).await;
    assert_eq!(echo(&mut always, "late").await, Some(Message::text("late")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_with_the_hours_though_the_store_is_away() {
    let clock = Clock::manual(START);
    let failing = Failing::new(clock.clone());
    let routes = "[[route]]\nupstream = 'demo'\nallow = { hours = { to = '09:00', zone = 'UTC' } }\n";
    let gate = Gate::on(failing.clone(), clock, |text| with_routes(&text, routes)).await;
    let ada = gate.signed_in("ada@example.com").await;
    let mut socket = open(&gate, &ada).await;
    failing.fail();
    gate.clock.advance(MINUTE * 59);
    assert_eq!(echo(&mut socket, "in time").await, Some(Message::text("in time")));
    gate.clock.advance(MINUTE);
    closed(&mut socket).await;
}
