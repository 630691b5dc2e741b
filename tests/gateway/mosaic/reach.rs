//! A Mosaic that is slow, broken, or not there.

use super::*;

/// Accepts connections and drops each after its first bytes; counts them.
async fn hang_up() -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU32::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            seen.fetch_add(1, Ordering::SeqCst);
            let _ = stream.shutdown().await;
        }
    });
    (url, count)
}

#[tokio::test]
async fn a_refused_connection_is_unreachable_for_five_seconds() {
    let story = Story::start().await;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let clock = story.clock.clone();
    let mosaic = client(&format!("http://{closed}"), &story.server.uri(), &clock, Duration::from_secs(10));
    assert!(mosaic.is_reachable(Step::SendLink));
    let error = send(&mosaic).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)) && error.is_transient(), "{error:?}");
    assert!(!mosaic.is_reachable(Step::SendLink));
    clock.advance(Duration::from_secs(5));
    assert!(mosaic.is_reachable(Step::SendLink));
}

#[tokio::test]
async fn a_call_that_works_ends_an_outage() {
    let story = Story::start().await;
    let broken = Mock::given(path(SEND)).respond_with(ResponseTemplate::new(500));
    broken.up_to_n_times(2).with_priority(1).mount(&story.server).await;
    story.answers("POST", SEND, sent()).await;
    assert!(story.send().await.is_err());
    assert!(story.mosaic.is_reachable(Step::SendLink), "it may have been that call's bad luck");
    assert!(story.send().await.is_err());
    assert!(!story.mosaic.is_reachable(Step::SendLink));
    assert!(story.send().await.is_ok());
    assert!(story.mosaic.is_reachable(Step::SendLink));
}

#[tokio::test]
async fn a_mail_is_not_asked_for_again_when_the_connection_breaks_but_a_read_is() {
    let story = Story::start().await;
    let (url, connections) = hang_up().await;
    let mosaic = client(&url, &story.server.uri(), &story.clock, Duration::from_secs(10));
    assert!(matches!(send(&mosaic).await.unwrap_err(), Error::Unreachable(_)));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let error = mosaic.find_user(&Identifier::Email(ada())).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 3);
    // The path of that call holds the address; no message may.
    assert!(!format!("{error} {error:?}").contains("example.com"), "{error:?}");
}

#[tokio::test]
async fn a_silent_mosaic_is_given_up() {
    let story = Story::start().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mosaic = client(&url, &story.server.uri(), &story.clock, Duration::from_millis(50));
    // The token comes from the quick server within the same short time.
    let error = send(&mosaic).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error:?}");
    assert!(!mosaic.is_reachable(Step::SendLink));
}

#[tokio::test]
async fn a_probe_needs_token_and_keys_and_remembers_both() {
    let story = Story::start().await;
    for _ in 0..10 {
        story.mosaic.probe().await.unwrap();
    }
    assert_eq!(story.server.received_requests().await.unwrap().len(), 2);
    let story = Story::without_tokens().await;
    assert!(story.mosaic.probe().await.is_err());
}

#[tokio::test]
async fn a_read_is_tried_again_only_within_the_time_that_a_call_may_take() {
    for (seconds, tries) in [(9, 2), (10, 1)] {
        let story = Story::start().await;
        let clock = story.clock.clone();
        let slow = move |_: &Request| {
            clock.advance(Duration::from_secs(seconds));
            ResponseTemplate::new(503)
        };
        let route = "/cis/v1/users/user-1";
        Mock::given(path(route)).respond_with(slow).mount(&story.server).await;
        let found = story.mosaic.user(&subject("user-1")).await;
        same(&found, &Error::ServerFault { status: 503 }, "the answer of the last try");
        assert_eq!(story.requests(route).await.len(), tries, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_sign_in_works_after_the_key_was_replaced_under_its_name() {
    let story = Story::start().await;
    let mut old = key_set();
    old["keys"][0]["n"] = json!(base64url(&[0xfe; 256]));
    let published = story.meanwhile("/cis/oidc/jwks", ResponseTemplate::new(200).set_body_json(old)).await;
    story.mosaic.probe().await.unwrap();
    drop(published);
    story.says(AUTHENTICATE, 200, &tokens(&id_claims())).await;
    story.clock.advance(Duration::from_secs(30));
    story.authenticate().await.unwrap();
    assert_eq!(story.requests("/cis/oidc/jwks").await.len(), 2);
}
