//! Servers that do not behave, and networks that do not work.

use crate::support::*;
use kit_core::Cause;
use kit_probe::{NoAnswer, NoAnswerKind, Options, Outcome, Prober};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SHORT: Duration = Duration::from_millis(40);

/// Asks a server that says `bytes` after the request and then closes.
async fn says(bytes: &'static [u8]) -> Outcome {
    let address = raw(move |mut stream| async move {
        request_head(&mut stream).await;
        let _ = stream.write_all(bytes).await;
    })
    .await;
    prober().probe(&get(&format!("http://user:hunter2@{address}/?token=hunter2"), AMPLE)).await
}

fn harmless(none: &NoAnswer) {
    assert!(!none.message.contains("hunter2") && !none.message.contains("token"), "{none:?}");
    assert!(!none.message.chars().any(char::is_control), "{none:?}");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_a_timeout_and_nothing_was_reached() {
    let address = raw(|mut stream| async move {
        request_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
        std::future::pending::<()>().await;
    })
    .await;
    let outcome = prober().probe(&get(&format!("http://{address}/"), SHORT)).await;
    assert!(!outcome.reached());
    let none = no_answer(outcome);
    assert_eq!(
        (none.kind, none.status, none.message.as_str()),
        (NoAnswerKind::Timeout, None, "no answer within 40 ms")
    );
    assert!(none.after_ms >= 40.0, "{none:?}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off_by_the_timeout() {
    let address = raw(|mut stream| async move {
        let clock = context(&[]).clock;
        request_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            clock.sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let outcome = prober().probe(&get(&format!("http://{address}/"), Duration::from_millis(400))).await;
    assert!(outcome.reached(), "the head came");
    let none = no_answer(outcome);
    assert_eq!((none.kind, none.status), (NoAnswerKind::Timeout, Some(200)));
    assert!(none.message.starts_with("status 200 came after "), "{none:?}");
    assert!(none.message.ends_with("but no end within 400 ms"), "{none:?}");
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let address = closed_port().await;
    let outcome = prober().probe(&get(&format!("http://user:hunter2@{address}/?token=hunter2"), AMPLE)).await;
    assert!(!outcome.reached());
    let none = no_answer(outcome);
    harmless(&none);
    assert_eq!(none.kind, NoAnswerKind::Refused);
    assert!(none.message.starts_with("the connection was refused: "), "{none:?}");
}

#[tokio::test]
async fn a_name_that_cannot_exist_is_a_dns_failure() {
    // A label of more than 63 characters is refused by the resolver itself: nobody is asked.
    let url = format!("http://{}.invalid/", "a".repeat(64));
    let outcome = prober().probe(&get(&url, AMPLE)).await;
    assert!(!outcome.reached());
    let none = no_answer(outcome);
    assert_eq!(none.kind, NoAnswerKind::Dns, "{none:?}");
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_failure_and_was_reached() {
    for garbage in [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n".as_slice(),
        b"HTTP/1.1 banana OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n",
    ] {
        let outcome = says(garbage).await;
        assert!(outcome.reached(), "{outcome:?}");
        let none = no_answer(outcome);
        harmless(&none);
        assert_eq!((none.kind, none.status), (NoAnswerKind::Protocol, None), "{none:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_no_answer() {
    for (bytes, status) in [
        (b"".as_slice(), None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", Some(200)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", Some(200)),
    ] {
        let none = no_answer(says(bytes).await);
        harmless(&none);
        assert_eq!((none.kind, none.status), (NoAnswerKind::Reset, status), "{none:?}");
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_is_a_reset() {
    let address = raw(|mut stream| async move {
        request_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        context(&[]).clock.sleep(Duration::from_millis(20)).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let none = no_answer(prober().probe(&get(&format!("http://{address}/"), AMPLE)).await);
    assert_eq!((none.kind, none.status), (NoAnswerKind::Reset, Some(200)), "{none:?}");
    assert!(none.message.starts_with("status 200 came, then the connection was closed"), "{none:?}");
}

#[tokio::test]
async fn broken_framing_of_a_body_is_a_protocol_failure() {
    let none = no_answer(says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n").await);
    assert_eq!((none.kind, none.status), (NoAnswerKind::Protocol, Some(200)), "{none:?}");
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_a_tls_failure() {
    for bytes in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b""] {
        let address = raw(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
            // Closing with bytes unread would reset the connection instead of ending it.
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let outcome = prober().probe(&get(&format!("https://{address}/?token=hunter2"), AMPLE)).await;
        assert!(!outcome.reached());
        let none = no_answer(outcome);
        harmless(&none);
        assert_eq!(none.kind, NoAnswerKind::Tls, "{none:?}");
    }
}

#[tokio::test]
async fn a_cancelled_probe_says_nothing_about_the_server() {
    let cx = context(&[]);
    let cancel = cx.cancel.clone();
    let address = raw(move |mut stream| {
        let cancel = cancel.clone();
        async move {
            request_head(&mut stream).await;
            cancel.cancel(Cause::Terminated);
            std::future::pending::<()>().await;
        }
    })
    .await;
    let outcome =
        Prober::new(&cx, Options::default()).unwrap().probe(&get(&format!("http://{address}/"), AMPLE)).await;
    assert!(matches!(outcome, Outcome::Cancelled) && !outcome.reached(), "{outcome:?}");
}
