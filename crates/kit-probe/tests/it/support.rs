//! Servers and contexts.

use kit_core::{Context, Env};
use kit_probe::{Answer, NoAnswer, Options, Outcome, Prober, Request};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

/// Long enough never to be met by chance.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

/// A context in real time with these variables and no others.
pub(crate) fn context(variables: &[(&str, &str)]) -> Context {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Context::for_test(pairs.collect::<Env>()).0
}

pub(crate) fn prober() -> Prober {
    Prober::new(&context(&[]), Options::default()).unwrap()
}

pub(crate) fn get(url: &str, timeout: Duration) -> Request {
    Request::new("GET", url, &BTreeMap::new(), None, timeout).unwrap()
}

#[track_caller]
pub(crate) fn answer(outcome: Outcome) -> Answer {
    assert!(outcome.reached(), "{outcome:?}");
    match outcome {
        Outcome::Answer(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn no_answer(outcome: Outcome) -> NoAnswer {
    match outcome {
        Outcome::NoAnswer(none) => none,
        other => panic!("an answer came: {other:?}"),
    }
}

/// Serves a router until the test ends.
pub(crate) async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Hands every connection to `behave` until the test ends.
pub(crate) async fn raw<F, W>(behave: F) -> SocketAddr
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    address
}

/// Reads a request up to the empty line and gives it back.
pub(crate) async fn request_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// An address on which nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
