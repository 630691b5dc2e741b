//! Several servers behind one route: by turns, by weight, by load.

use crate::harness::{Gate, eventually, with_routes};
use crate::recorder::Recorder;
use crate::upstreams::{listen, request};
use crate::wire::Wire;

/// A public route to these servers, each of which is written as in gateway.toml.
pub(super) fn route(servers: &[String], settings: &str) -> String {
    let servers = servers.join(", ");
    format!("[[route]]\naccess = \"public\"\nwhole_site = true\nupstream = [{servers}]\n{settings}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_take_turns_by_their_weights() {
    let (a, b) = (Recorder::start().await, Recorder::start().await);
    let servers = [format!("{{ url = \"http://{}\", weight = 3 }}", a.address), format!("\"http://{}\"", b.address)];
    let gate = Gate::with(|text| with_routes(&text, &route(&servers, ""))).await;
    for turn in 1..=3 {
        for _ in 0..4 {
            assert_eq!(gate.visitor().open("/").await.body, "hello");
        }
        assert_eq!((a.requests().len(), b.requests().len()), (3 * turn, turn));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_fewest_open_requests_is_next() {
    let busy = listen().await;
    let idle = Recorder::start().await;
    let servers = [format!("\"http://{}\"", busy.local_addr().unwrap()), format!("\"http://{}\"", idle.address)];
    let settings = "balance = \"least-connections\"";
    let gate = Gate::with(|text| with_routes(&text, &route(&servers, settings))).await;
    let mut waiting = gate.wire().await;
    waiting.send(request("GET /slow", "")).await;
    let mut slow = Wire::accept(&busy).await;
    slow.head().await;
    for _ in 0..5 {
        assert_eq!(gate.visitor().open("/").await.body, "hello");
        // An answer is there before its request counts as done.
        let is_alone = async || gate.admin("/metrics").await.body.contains("linkgate_open_requests 1\n");
        eventually(is_alone).await;
    }
    assert_eq!(idle.requests().len(), 5, "the other one still has its request");
    // The connection is not kept, so that the next request to this server comes by one that it accepts.
    slow.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nslow").await;
    assert_eq!(waiting.answer().await.body, "slow");
    drop(waiting);
    let mut next = gate.wire().await;
    // Nobody has any now, so that it is the first one's turn within two requests.
    eventually(async || {
        next.send(request("GET /next", "")).await;
        tokio::select! {
            answer = next.answer() => answer.body != "hello",
            mut accepted = Wire::accept(&busy) => accepted.head().await.starts_with("GET /next"),
        }
    })
    .await;
}
