//! gRPC through the gateway: a real server behind it, a real client before it, and refusals that the client reads.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{Service, service_fn};

use crate::harness::{Gate, PATIENCE, SECURE_HOST, Visitor, closed_port, eventually, with_routes};
use crate::stream_ends::sign_out;
use crate::tls::{self, Files};

/// Messages as they are: what they mean is not the gateway's.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Says who calls, echoes, and fails.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "story.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            Ok(match request.uri().path() {
                "/story.Echo/Who" => grpc.unary(service_fn(who), request).await,
                "/story.Echo/Chat" => grpc.streaming(service_fn(chat), request).await,
                "/story.Echo/Wait" => std::future::pending().await,
                _ => grpc.unary(service_fn(fail), request).await,
            })
        })
    }
}

async fn who(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let caller = request.metadata().get("x-forwarded-email").map(|caller| caller.as_bytes().to_vec());
    Ok(Response::new(Bytes::from(caller.unwrap_or_default())))
}

async fn chat(request: Request<Streaming<Bytes>>) -> Result<Response<Streaming<Bytes>>, Status> {
    Ok(Response::new(request.into_inner()))
}

async fn fail(_: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    Err(Status::already_exists("taken"))
}

/// A gate before the server, and somebody's cookie.
async fn gate(files: &Files) -> (Gate, String) {
    let (gate, ada) = signed_in(files).await;
    let cookie = ada.session_cookie();
    (gate, format!("__Host-linkgate={cookie}"))
}

/// A gate before the server, and somebody.
async fn signed_in(files: &Files) -> (Gate, Visitor) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(Echo).serve_with_incoming(TcpListenerStream::new(listener)));
    let away = closed_port().await;
    let routes = format!(
        r#"
[[route]]
path = "/story.Echo"
upstream = "http://{upstream}"
http2 = true
[[route]]
path = "/story.Away"
upstream = "http://{away}"
http2 = true
[[route]]
path = "/story.Admin"
upstream = "http://{upstream}"
http2 = true
allow = {{ roles = ["admin"] }}
"#
    );
    let gate = tls::gate(files, "", |text| with_routes(&text, &routes)).await;
    let ada = gate.signed_in("ada@example.com").await;
    (gate, ada)
}

async fn client(gate: &Gate, files: &Files) -> tonic::client::Grpc<Channel> {
    let (address, tls) = (gate.running.address, files.client(&["h2"]));
    let connect = move |_: Uri| {
        let connector = tokio_rustls::TlsConnector::from(tls.clone());
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    };
    let endpoint = Endpoint::from_shared(format!("http://{SECURE_HOST}")).unwrap();
    let channel = endpoint.connect_with_connector(service_fn(connect)).await.unwrap();
    tonic::client::Grpc::new(channel)
}

fn with_cookie<T>(message: T, cookie: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !cookie.is_empty() {
        request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    }
    request
}

async fn call(
    client: &mut tonic::client::Grpc<Channel>,
    method: &'static str,
    cookie: &str,
) -> Result<String, (Code, String)> {
    client.ready().await.unwrap();
    let request = with_cookie(Bytes::from_static(b"hello"), cookie);
    let answer = client.unary(request, PathAndQuery::from_static(method), Plain).await;
    answer
        .map(|answer: Response<Bytes>| String::from_utf8(answer.into_inner().to_vec()).unwrap())
        .map_err(|status| (status.code(), status.message().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_pass_with_their_caller_and_their_status() {
    let files = Files::new();
    let (gate, cookie) = gate(&files).await;
    let mut client = client(&gate, &files).await;
    assert_eq!(call(&mut client, "/story.Echo/Who", &cookie).await, Ok("ada@example.com".to_owned()));
    // The status stands in a trailer.
    assert_eq!(call(&mut client, "/story.Echo/Fail", &cookie).await, Err((Code::AlreadyExists, "taken".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_of_a_call_stream_at_once() {
    let files = Files::new();
    let (gate, cookie) = gate(&files).await;
    let mut client = client(&gate, &files).await;
    client.ready().await.unwrap();
    let (say, said) = mpsc::channel::<Bytes>(4);
    let request = with_cookie(ReceiverStream::new(said), &cookie);
    say.send(Bytes::from_static(b"0")).await.unwrap();
    let chat = client.streaming(request, PathAndQuery::from_static("/story.Echo/Chat"), Plain).await.unwrap();
    let mut heard: Streaming<Bytes> = chat.into_inner();
    assert_eq!(heard.message().await.unwrap().unwrap(), "0");
    for text in ["1", "22", "333"] {
        say.send(Bytes::from_static(text.as_bytes())).await.unwrap();
        assert_eq!(heard.message().await.unwrap().unwrap(), text);
        gate.clock.advance(std::time::Duration::from_secs(600));
    }
    drop(say);
    assert!(heard.message().await.unwrap().is_none(), "it ends with its trailers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_form_that_a_client_reads() {
    let files = Files::new();
    let (gate, cookie) = gate(&files).await;
    let mut client = client(&gate, &files).await;
    for (method, cookie, code, message) in [
        ("/story.Echo/Who", "", Code::Unauthenticated, "Sign in to go on."),
        ("/story.Admin/Who", &cookie, Code::PermissionDenied, "You don't have access."),
        ("/story.Other/Who", &cookie, Code::Unimplemented, "There is nothing here."),
        ("/story.Away/Who", &cookie, Code::Unavailable, "The application is not responding."),
    ] {
        assert_eq!(call(&mut client, method, cookie).await, Err((code, message.to_owned())), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_call_ends_as_unauthenticated_when_its_session_is_over() {
    let files = Files::new();
    let (gate, mut ada) = signed_in(&files).await;
    let cookie = format!("__Host-linkgate={}", ada.session_cookie());
    let mut client = client(&gate, &files).await;
    client.ready().await.unwrap();
    let (say, said) = mpsc::channel::<Bytes>(4);
    let request = with_cookie(ReceiverStream::new(said), &cookie);
    say.send(Bytes::from_static(b"0")).await.unwrap();
    let chat = client.streaming(request, PathAndQuery::from_static("/story.Echo/Chat"), Plain).await.unwrap();
    let mut heard: Streaming<Bytes> = chat.into_inner();
    assert_eq!(heard.message().await.unwrap().unwrap(), "0");
    // Another one has no answer yet.
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { call(&mut other, "/story.Echo/Wait", &cookie).await });
    let open = "linkgate_open_streams{kind=\"grpc\"} 2";
    eventually(async || gate.admin("/metrics").await.body.contains(open)).await;

    sign_out(&mut ada).await;
    let status = tokio::time::timeout(PATIENCE, heard.message()).await.expect("the call ends").unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "signed_out"));
    let unanswered = tokio::time::timeout(PATIENCE, waiting).await.expect("the other one as well").unwrap();
    assert_eq!(unanswered, Err((Code::Unauthenticated, "Sign in to go on.".to_owned())));
    let again = call(&mut client, "/story.Echo/Who", "").await;
    assert_eq!(again, Err((Code::Unauthenticated, "Sign in to go on.".to_owned())), "on the same connection");
    let ended = "linkgate_streams_ended_total{kind=\"grpc\",reason=\"signed_out\"} 2";
    eventually(async || gate.admin("/metrics").await.body.contains(ended)).await;
}
