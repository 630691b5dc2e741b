//! The built-in demo application: an upstream that shows what it received, to people and to programs.
//!
//! It trusts what it is sent, as an application behind the gateway does, and keeps nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use crate::pages::{Pages, Reader};

/// Headers that tell an application who is asking, of every preset; the first one there greets the visitor.
const IDENTITY: &[&str] = &[
    "x-forwarded-email",
    "remote-email",
    "x-auth-request-email",
    "x-forwarded-preferred-username",
    "x-auth-request-preferred-username",
    "remote-name",
    "x-forwarded-user",
    "remote-user",
    "x-auth-request-user",
    "x-forwarded-groups",
    "remote-groups",
    "x-auth-request-groups",
    "x-forwarded-roles",
    "x-linkgate-assertion",
];

/// How many of them say a name.
const NAMING: usize = 9;

/// What is read of a request's body, so that the connection can be used again; more than that ends it.
const LARGEST_BODY: usize = 8 * 1024 * 1024;

const LARGEST_MESSAGE: usize = 64 * 1024;

/// Answers every path and method with what it received, echoes WebSocket messages under `/ws`, and sends an event a
/// second under `/events`.
pub fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/ws", any(echo))
        .route("/ws/{*rest}", any(echo))
        .route("/events", get(count).fallback(mirror))
        .fallback(mirror)
        .with_state(pages)
}

/// For programs.
#[derive(Serialize)]
struct Received<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: BTreeMap<&'a str, Vec<String>>,
}

/// For people.
#[derive(Serialize)]
struct Greeting<'a> {
    visitor: Option<String>,
    method: &'a str,
    target: String,
    fields: Vec<Field<'a>>,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    value: String,
    identity: bool,
}

async fn mirror(State(pages): State<Arc<Pages>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    skip(body).await;
    let mut answer = if is_for_people(&head.headers) {
        let reader = Reader { language: pages.language(&head.headers), here: None };
        let page = Html(pages.render("demo.html", Greeting::of(&head), &reader));
        ([(header::CONTENT_LANGUAGE, reader.language.tag())], page).into_response()
    } else {
        Json(Received::of(&head)).into_response()
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"),
        (header::VARY, "accept, accept-language"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn skip(body: Body) {
    let mut left = LARGEST_BODY;
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Whether `text/html` is asked for, and not after `application/json`.
fn is_for_people(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    fields
        .flat_map(|value| value.split(','))
        .map(|range| range.split_once(';').map_or(range, |(kind, _)| kind).trim().to_ascii_lowercase())
        .find(|kind| kind == "text/html" || kind == "application/json")
        .is_some_and(|kind| kind == "text/html")
}

impl<'a> Received<'a> {
    fn of(head: &'a Parts) -> Self {
        let mut headers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, value) in &head.headers {
            headers.entry(name.as_str()).or_default().push(text(value));
        }
        Self {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers,
        }
    }
}

impl<'a> Greeting<'a> {
    fn of(head: &'a Parts) -> Self {
        let value = |name: &&str| head.headers.get(*name).map(text).filter(|value| !value.is_empty());
        let mut fields: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| (IDENTITY.iter().position(|known| name == known), name.as_str(), value))
            .collect();
        fields.sort_by_key(|(rank, name, _)| (rank.unwrap_or(IDENTITY.len()), *name));
        let fields =
            fields.into_iter().map(|(rank, name, value)| Field { name, value: text(value), identity: rank.is_some() });
        Self {
            visitor: IDENTITY[..NAMING].iter().find_map(value),
            method: head.method.as_str(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            fields: fields.collect(),
        }
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

async fn echo(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    pages: State<Arc<Pages>>,
    request: Request,
) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade.max_message_size(LARGEST_MESSAGE).on_upgrade(repeat),
        Err(_) => mirror(pages, request).await,
    }
}

async fn repeat(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            // Pings and closings are answered below us.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn count() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let seconds = tokio::time::interval(Duration::from_secs(1));
    let events = stream::unfold((seconds, 1_u64), async |(mut seconds, n)| {
        seconds.tick().await;
        let event = Event::default().data(format!("{{\"n\":{n}}}"));
        Some((Ok(event), (seconds, n + 1)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::SinkExt;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::origin::Origin;
    use crate::pages::Theme;

    fn demo() -> Router {
        let origin = Origin::try_from("https://app.example.com".to_owned()).expect("the origin is well formed");
        let pages = Pages::new(&Theme::default(), &origin, Path::new("/")).expect("the theme is fine");
        router(Arc::new(pages))
    }

    async fn send(request: http::request::Builder, body: Body) -> (u16, HeaderMap, String) {
        let request = request.body(body).expect("the request is well formed");
        let answer = demo().oneshot(request).await.expect("the router always answers");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("the body is whole").to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.into()).expect("the body is text"))
    }

    async fn page(fields: &[(&str, &str)]) -> String {
        let request = Request::get("/reports?year=1&page='2'").header("accept", "text/html,*/*;q=0.8");
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (status, headers, page) = send(request, Body::empty()).await;
        assert_eq!(
            (status, &headers[header::CONTENT_TYPE]),
            (200, &"text/html; charset=utf-8".parse().expect("ASCII"))
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        page
    }

    #[tokio::test]
    async fn programs_get_what_was_received() {
        for (method, path) in
            [("GET", "/"), ("DELETE", "/a/%2e/b"), ("PROPFIND", "/ws"), ("GET", "/ws/x"), ("POST", "/events")]
        {
            let request = Request::builder().method(method).uri(format!("{path}?a=1&b=%20"));
            let request = request.header("X-Tag", "one").header("Accept", "application/json").header("x-tag", "two");
            let (status, headers, body) = send(request, Body::from("ignored")).await;
            assert_eq!((status, &headers[header::CACHE_CONTROL]), (200, &"no-store".parse().expect("ASCII")), "{path}");
            let body: Value = serde_json::from_str(&body).expect("the body is JSON");
            let fields = json!({ "accept": ["application/json"], "x-tag": ["one", "two"] });
            let expected = json!({ "method": method, "path": path, "query": "a=1&b=%20", "headers": fields });
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn people_are_those_who_ask_for_a_page() {
        let check = |accept: &[&str], expected| {
            let headers = accept.iter().map(|value| (header::ACCEPT, value.parse().expect("ASCII"))).collect();
            assert_eq!(is_for_people(&headers), expected, "{accept:?}");
        };
        check(&[], false);
        check(&["*/*"], false);
        check(&["application/json"], false);
        check(&["text/html"], true);
        check(&["Text/HTML;q=0.9, */*"], true);
        check(&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], true);
        check(&["application/json, text/html"], false);
        check(&["image/png", "text/html, application/json"], true);
        check(&["text/html-like"], false);
    }

    #[tokio::test]
    async fn a_page_greets_the_visitor_and_shows_identity_first() {
        let page = page(&[
            ("cookie", "theme=dark"),
            ("x-forwarded-user", "user-1"),
            ("x-forwarded-email", "ada@example.com"),
            ("x-forwarded-groups", "staff"),
        ])
        .await;
        assert!(page.contains("<h1>Hello, ada@example.com</h1>"), "{page}");
        let rows: Vec<_> = page.lines().filter(|line| line.contains("scope=\"row\"")).collect();
        let expected = ["x-forwarded-email", "x-forwarded-user", "x-forwarded-groups", "accept", "cookie"];
        assert_eq!(rows.len(), expected.len(), "{page}");
        for (place, (row, name)) in rows.iter().zip(expected).enumerate() {
            assert!(row.contains(&format!("<code>{name}</code></th>")), "{row}");
            assert_eq!(row.contains("class=\"own\""), place < 3, "{row}");
        }
        assert!(
            page.contains("href=\"/.linkgate/session\"") && page.contains("href=\"/.linkgate/sign-out\""),
            "{page}"
        );
        assert!(page.contains("/.linkgate/assets/style.css"), "{page}");
    }

    #[tokio::test]
    async fn somebody_unknown_can_sign_in() {
        let page = page(&[("x-forwarded-email", ""), ("x-forwarded-groups", "staff")]).await;
        assert!(page.contains("<h1>Hello</h1>") && page.contains("href=\"/.linkgate/sign-in\""), "{page}");
        assert!(!page.contains("/.linkgate/sign-out"), "{page}");
    }

    #[tokio::test]
    async fn what_strangers_write_is_escaped() {
        let script = "<script>alert('1')</script>";
        let page = page(&[("x-forwarded-email", script), ("x-other", script), ("referer", "\"><img src=x>")]).await;
        assert!(page.contains("&lt;script&gt;") && page.contains("/reports?year=1&amp;page=&#x27;2&#x27;"), "{page}");
        assert!(!page.contains("<script>") && !page.contains("<img"), "{page}");
    }

    #[tokio::test]
    async fn a_body_is_read_only_so_far() {
        let chunk = bytes::Bytes::from_static(&[0; 64 * 1024]);
        let endless = stream::repeat(chunk).map(Ok::<_, Infallible>);
        let (status, ..) = send(Request::post("/upload"), Body::from_stream(endless)).await;
        assert_eq!(status, 200);
    }

    #[tokio::test]
    async fn events_begin_at_once() {
        let request = Request::get("/events").body(Body::empty()).expect("the request is well formed");
        let answer = demo().oneshot(request).await.expect("the router always answers");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        let first = answer.into_body().into_data_stream().next().await;
        assert_eq!(first.and_then(Result::ok).as_deref(), Some(b"data: {\"n\":1}\n\n".as_slice()));
    }

    #[tokio::test]
    async fn messages_come_back() {
        use tokio_tungstenite::tungstenite::Message;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("the listener is bound");
        tokio::spawn(axum::serve(listener, demo()).into_future());
        for path in ["/ws", "/ws/room"] {
            let connected = tokio_tungstenite::connect_async(format!("ws://{address}{path}")).await;
            let (mut socket, _) = connected.expect("the upgrade is accepted");
            for message in [Message::text("hello"), Message::binary(vec![0, 255])] {
                socket.send(message.clone()).await.expect("the socket is open");
                let echoed = socket.next().await.and_then(Result::ok);
                assert_eq!(echoed, Some(message), "{path}");
            }
        }
    }
}
