//! Plain connections.

use crate::support::*;
use kit_core::Cause;
use kit_probe::{NoAnswerKind, TcpOutcome, tcp_connect};

#[tokio::test]
async fn somebody_listens_or_not_or_nobody_knows() {
    let cx = context(&[]);
    let open = raw(|stream| async move { drop(stream) }).await;
    assert_eq!(tcp_connect(&cx, "127.0.0.1", open.port(), AMPLE).await, TcpOutcome::Connected(open));
    let closed = closed_port().await;
    for (host, port, kind) in [
        ("127.0.0.1".to_owned(), closed.port(), NoAnswerKind::Refused),
        (format!("{}.invalid", "a".repeat(64)), 80, NoAnswerKind::Dns),
    ] {
        let TcpOutcome::NoAnswer(none) = tcp_connect(&cx, &host, port, AMPLE).await else {
            panic!("{host} listens");
        };
        assert_eq!(none.kind, kind, "{none:?}");
    }
    cx.cancel.cancel(Cause::Interrupted);
    assert_eq!(tcp_connect(&cx, "127.0.0.1", open.port(), AMPLE).await, TcpOutcome::Cancelled);
}
