//! Every call shows in the metrics, by its name and by what came of it.

use super::*;

/// The lines about calls: name, outcome and count.
fn calls(story: &Story) -> Vec<String> {
    let metrics = story.metrics.render();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("linkgate_mosaic_calls_total"));
    lines.filter(|line| !line.contains("call=\"token\"")).map(str::to_owned).collect()
}

#[tokio::test]
async fn each_outcome_has_its_name() {
    for (answer, outcome) in [
        (sent(), "ok"),
        (ResponseTemplate::new(404), "refused"),
        (ResponseTemplate::new(429), "rate_limited"),
        (ResponseTemplate::new(500), "server_fault"),
        (ResponseTemplate::new(302), "unexpected"),
        (ResponseTemplate::new(200).set_body_string("x".repeat(70_000)), "unexpected"),
    ] {
        let story = Story::start().await;
        story.answers("POST", SEND, answer).await;
        story.send().await.ok();
        assert_eq!(calls(&story), [format!("{{call=\"send_magic_link\",outcome=\"{outcome}\"}} 1")]);
        let timed = "linkgate_mosaic_call_duration_seconds_count{call=\"send_magic_link\"} 1";
        assert!(story.metrics.render().lines().any(|line| line == timed));
    }
}

#[tokio::test]
async fn so_has_a_mosaic_that_is_not_there_or_says_nothing() {
    let story = Story::start().await;
    let closed = crate::harness::closed_port().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for (address, outcome) in [(closed, "unreachable"), (silent.local_addr().unwrap(), "timed_out")] {
        let metrics = metrics();
        let there = connection(&format!("http://{address}"), &story.server.uri());
        // The token comes from the quick server within the same time.
        let mosaic = client_with(there, &story.clock, Duration::from_millis(250), &metrics);
        send(&mosaic).await.unwrap_err();
        let expected = format!("linkgate_mosaic_calls_total{{call=\"send_magic_link\",outcome=\"{outcome}\"}} 1");
        assert!(metrics.render().lines().any(|line| line == expected), "{}", metrics.render());
    }
}

#[tokio::test]
async fn calls_that_are_held_back_are_counted_and_not_timed() {
    let story = Story::start().await;
    story.answers("POST", SEND, ResponseTemplate::new(500)).await;
    for _ in 0..5 {
        story.send().await.unwrap_err();
    }
    let expected =
        ["{call=\"send_magic_link\",outcome=\"held_back\"} 2", "{call=\"send_magic_link\",outcome=\"server_fault\"} 3"];
    assert_eq!(calls(&story), expected);
    let timed = "linkgate_mosaic_call_duration_seconds_count{call=\"send_magic_link\"} 3";
    assert!(story.metrics.render().lines().any(|line| line == timed));
}

#[tokio::test]
async fn a_second_try_is_a_call_of_its_own() {
    let story = Story::start().await;
    story.answers("GET", "/cis/v1/users/user-1", ResponseTemplate::new(502)).await;
    story.mosaic.user(&subject("user-1")).await.unwrap_err();
    assert_eq!(calls(&story), ["{call=\"user\",outcome=\"server_fault\"} 2"]);
}
