//! Servers that behave.

use crate::support::*;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::{Router, routing::any, routing::get as on_get};
use kit_contract::config::Expect;
use kit_probe::{BODY_LIMIT_BYTES, NoAnswerKind, Options, Prober, Request, Vars, check};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn a_wrong_status_is_an_answer_and_a_mismatch() {
    let app = Router::new()
        .route("/", on_get(|| async { (StatusCode::SERVICE_UNAVAILABLE, r#"{"version":"1.4.0"}"#) }));
    let address = serve(app).await;
    let answer = answer(prober().probe(&get(&format!("http://{address}/"), AMPLE)).await);
    assert_eq!((answer.status, answer.remote_addr), (503, Some(address)));
    assert_eq!(answer.header("Content-Length").as_deref(), Some("19"));
    let mut expect = Expect::default();
    expect.json.insert("$.version".to_owned(), "{version}".into());
    let vars = Vars { version: Some("2.0.0".to_owned()), sha: None };
    let problems: Vec<String> = check(&expect, &answer, &vars).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["status: expected 200, got 503", "json $.version: expected \"2.0.0\", got \"1.4.0\""]
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let followed = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&followed);
    let app = Router::new()
        .route("/", on_get(|| async { Redirect::temporary("/login") }))
        .route("/login", on_get(move || async move { count.fetch_add(1, Ordering::SeqCst).to_string() }));
    let address = serve(app).await;
    let answer = answer(prober().probe(&get(&format!("http://{address}/"), AMPLE)).await);
    assert_eq!((answer.status, answer.header("location").as_deref()), (307, Some("/login")));
    assert_eq!(followed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn method_headers_and_body_are_sent_and_the_host_can_be_forced() {
    let app = Router::new().fallback(any(
        |method: axum::http::Method, headers: HeaderMap, body: String| async move {
            let value =
                |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
            format!(
                "{method} {} {} {} {} {body}",
                value("host"),
                value("user-agent"),
                value("x-arm"),
                value("authorization")
            )
        },
    ));
    let address = serve(app).await;
    let headers = BTreeMap::from([
        ("Host".to_owned(), "shop.example".to_owned()),
        ("X-Arm".to_owned(), "canary".to_owned()),
    ]);
    let url = format!("http://me:secret@{address}/x");
    let request = Request::new("POST", &url, &headers, Some("{}".to_owned()), AMPLE).unwrap();
    let answer = answer(prober().probe(&request).await);
    let said = String::from_utf8(answer.body).unwrap();
    let agent = concat!("deploy-kit/", env!("CARGO_PKG_VERSION"));
    assert_eq!(said, format!("POST shop.example {agent} canary Basic bWU6c2VjcmV0 {{}}"));
}

#[tokio::test]
async fn latency_is_measured_to_the_last_byte() {
    let address = raw(|mut stream| async move {
        let clock = context(&[]).clock;
        request_head(&mut stream).await;
        clock.sleep(Duration::from_millis(20)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
        clock.sleep(Duration::from_millis(30)).await;
        stream.write_all(b"k").await.unwrap();
    })
    .await;
    let answer = answer(prober().probe(&get(&format!("http://{address}/"), AMPLE)).await);
    assert_eq!(answer.body, b"ok");
    assert!(answer.ttfb_ms >= 20.0 && answer.latency_ms >= 50.0, "{answer:?}");
    assert!(answer.latency_ms >= answer.ttfb_ms, "{answer:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_cut_and_a_body_at_the_limit_is_not() {
    let app = Router::new()
        .route("/at", on_get(|| async { vec![b'x'; BODY_LIMIT_BYTES] }))
        .route("/over", on_get(|| async { vec![b'x'; BODY_LIMIT_BYTES + 1] }));
    let address = serve(app).await;
    for (path, truncated) in [("at", false), ("over", true)] {
        let answer = answer(prober().probe(&get(&format!("http://{address}/{path}"), AMPLE)).await);
        assert_eq!((answer.body.len(), answer.body_truncated), (BODY_LIMIT_BYTES, truncated), "{path}");
        let expect = Expect { body_contains: Some("x".to_owned()), ..Expect::default() };
        assert_eq!(check(&expect, &answer, &Vars::default()).is_empty(), !truncated, "{path}");
    }
}

#[tokio::test]
async fn every_probe_has_a_connection_of_its_own_unless_they_are_kept() {
    for (fresh_connections, expected) in [(true, 3), (false, 1)] {
        let accepted = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&accepted);
        let address = raw(move |mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                while !request_head(&mut stream).await.is_empty() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            }
        })
        .await;
        let prober = Prober::new(&context(&[]), Options { fresh_connections }).unwrap();
        for _ in 0..3 {
            answer(prober.probe(&get(&format!("http://{address}/"), AMPLE)).await);
        }
        assert_eq!(accepted.load(Ordering::SeqCst), expected, "fresh: {fresh_connections}");
    }
}

#[tokio::test]
async fn a_proxy_comes_from_the_context_and_never_serves_loopback() {
    let proxy = raw(|mut stream| async move {
        let head = request_head(&mut stream).await;
        let line = head.lines().next().unwrap_or_default().to_owned();
        let said = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
        stream.write_all(said.as_bytes()).await.unwrap();
    })
    .await;
    let direct = serve(Router::new().route("/", on_get(|| async { "direct" }))).await;
    let cx = context(&[("HTTP_PROXY", &format!("http://{proxy}")), ("NO_PROXY", "other.example")]);
    let prober = Prober::new(&cx, Options::default()).unwrap();
    let through = answer(prober.probe(&get("http://shop.invalid/health", AMPLE)).await);
    assert_eq!(String::from_utf8_lossy(&through.body), "GET http://shop.invalid/health HTTP/1.1");
    let past = answer(prober.probe(&get(&format!("http://{direct}/"), AMPLE)).await);
    assert_eq!(String::from_utf8_lossy(&past.body), "direct");
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_is_no_answer_and_its_password_is_not_shown() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let proxy = raw(move |mut stream| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(request_head(&mut stream).await);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let cx = context(&[("https_proxy", &format!("http://user:hunter2@{proxy}"))]);
    let outcome = Prober::new(&cx, Options::default())
        .unwrap()
        .probe(&get("https://shop.invalid/?token=hunter2", AMPLE))
        .await;
    assert!(!outcome.reached());
    let none = no_answer(outcome);
    assert_eq!(none.kind, NoAnswerKind::Other, "{none:?}");
    assert!(!none.message.contains("hunter2"), "{none:?}");
    let head = told.recv().await.unwrap();
    assert!(head.starts_with("CONNECT shop.invalid:443 HTTP/1.1\r\n"), "{head}");
}
