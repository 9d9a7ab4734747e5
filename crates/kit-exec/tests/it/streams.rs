//! Input to children, and their output as a stream.

use crate::support::{context, eventually, runs, sh};
use kit_core::Cause;
use kit_exec::{Command, ExecError, Status, Stdin, Stdout};
use std::io::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Task, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

const MIB: u64 = 1024 * 1024;

/// Gives its bytes, then fails, or has an end. Counts how often it is asked.
#[derive(Default)]
struct Source {
    left: u64,
    breaks: bool,
    asked: Arc<AtomicU64>,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        self.asked.fetch_add(1, Relaxed);
        if self.left == 0 && self.breaks {
            return Poll::Ready(Err(Error::other("the store hung up")));
        }
        let count = buffer.remaining().min(usize::try_from(self.left).unwrap());
        buffer.put_slice(&vec![b'x'; count]);
        self.left -= count as u64;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn input_is_passed_on_and_ends() {
    let (cx, _) = context(&[]);
    let many = vec![b'x'; 3_000_000];
    let streamed = Stdin::Stream(Box::new(Source { left: 3_000_000, breaks: false, ..Source::default() }));
    for (stdin, wanted) in
        [(Stdin::Empty, vec![]), (Stdin::Bytes(many.clone()), many.clone()), (streamed, many)]
    {
        let cat = Command::new("cat").stdin(stdin).stdout(Stdout::Capture { limit_bytes: 4 * MIB });
        assert!(cat.run(&cx).await.unwrap().stdout == wanted);
    }
    // A child that does not want it all is content.
    Command::new("true").stdin(Stdin::Bytes(vec![b'x'; 3_000_000])).run(&cx).await.unwrap();
}

#[tokio::test]
async fn a_broken_input_never_looks_like_its_end() {
    let (cx, _) = context(&[]);
    let folder = tempfile::tempdir().unwrap();
    let stdin = Stdin::Stream(Box::new(Source { left: 1000, breaks: true, ..Source::default() }));
    let command =
        sh("trap '' INT; cat > part; echo all > committed").current_folder(folder.path()).stdin(stdin);
    let error = command.run(&cx).await.unwrap_err();
    assert!(
        matches!(&error, ExecError::Input { source, .. } if source.to_string() == "the store hung up"),
        "{error:?}"
    );
    assert!(!folder.path().join("committed").exists());
}

#[tokio::test]
async fn a_child_that_is_asked_to_end_gets_no_more_work() {
    let (cx, _) = context(&[]);
    let asked = Arc::new(AtomicU64::new(0));
    let at_cancel = Arc::new(AtomicU64::new(0));
    let endless = Source { left: u64::MAX, breaks: false, asked: asked.clone() };
    let (cancel, then, now) = (cx.cancel.clone(), at_cancel.clone(), asked.clone());
    let on_line = move |_: &str| {
        then.store(now.load(Relaxed), Relaxed);
        cancel.cancel(Cause::Interrupted);
    };
    // It reads on through the whole first grace.
    let command = sh("trap '' INT; echo ready; cat > /dev/null").stdout(Stdout::lines(on_line));
    let error = command.stdin(Stdin::Stream(Box::new(endless))).run(&cx).await.unwrap_err();
    assert!(matches!(error, ExecError::Cancelled { .. }), "{error:?}");
    let more = asked.load(Relaxed) - at_cancel.load(Relaxed);
    assert!(more <= 5, "{more} more pieces of input were given to it");
}

#[tokio::test]
async fn output_can_be_read_as_a_stream() {
    let (cx, _) = context(&[]);
    let mut running = Command::new("head").args(["-c", "5000000", "/dev/zero"]).spawn_reading(&cx).unwrap();
    let mut bytes = Vec::new();
    running.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len(), 5_000_000);
    assert!(!running.finish().await.unwrap().left_open);
}

#[tokio::test]
async fn an_end_of_the_stream_is_no_success() {
    let (cx, _) = context(&[]);
    let mut running = sh("printf part; echo why >&2; exit 4").spawn_reading(&cx).unwrap();
    let mut text = String::new();
    running.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "part");
    let error = running.finish().await.unwrap_err();
    assert!(matches!(error, ExecError::Failed { status: Status::Code(4), .. }), "{error:?}");
    assert_eq!(error.stderr_tail(), ["why"]);

    let mut running = sh("printf part; sleep 1000").spawn_reading(&cx).unwrap();
    let mut part = [0; 4];
    running.read_exact(&mut part).await.unwrap();
    cx.cancel.cancel(Cause::Interrupted);
    assert_eq!(running.read(&mut part).await.unwrap(), 0);
    let error = running.finish().await.unwrap_err();
    assert!(matches!(error, ExecError::Cancelled { .. }), "{error:?}");
}

#[tokio::test]
async fn output_that_was_not_read_to_its_end_is_no_success() {
    let (cx, _) = context(&[]);
    let mut running = Command::new("yes").spawn_reading(&cx).unwrap();
    running.read_u8().await.unwrap();
    let error = running.finish().await.unwrap_err();
    assert!(matches!(error, ExecError::Failed { status: Status::Signal(13), .. }), "SIGPIPE: {error:?}");

    let mut running = sh("trap '' PIPE; echo some; exit 0").spawn_reading(&cx).unwrap();
    running.read_u8().await.unwrap();
    let error = running.finish().await.unwrap_err();
    assert!(matches!(error, ExecError::OutputCut { .. }), "{error:?}");

    let mut running = Command::new("yes").spawn_reading(&cx).unwrap();
    running.read_u8().await.unwrap();
    cx.clock.timeout(Duration::from_secs(5), running.stop()).await.expect("promptly");
}

#[tokio::test]
async fn a_stream_that_is_held_open_fails() {
    let (cx, _) = context(&[]);
    let mut running = sh("sleep 1000 & echo $!").spawn_reading(&cx).unwrap();
    let mut bytes = Vec::new();
    let read =
        cx.clock.timeout(Duration::from_secs(5), running.read_to_end(&mut bytes)).await.expect("promptly");
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    let error = running.finish().await.unwrap_err();
    assert!(matches!(error, ExecError::OutputCut { .. }), "{error:?}");
    let pid: i32 = String::from_utf8(bytes).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_everything_although_the_child_is_long_gone() {
    let (cx, _) = context(&[]);
    let script = "printf '%09d' $$; printf 'some text'";
    let mut running = sh(script).grace(Duration::from_millis(1)).spawn_reading(&cx).unwrap();
    let mut pid = [0; 9];
    running.read_exact(&mut pid).await.unwrap();
    let pid: i32 = std::str::from_utf8(&pid).unwrap().parse().unwrap();
    eventually(&cx, "the child is gone", || !runs(pid)).await;
    // The grace is real time; the reader takes far more of it.
    cx.clock.sleep(Duration::from_millis(30)).await;
    let mut rest = String::new();
    running.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "some text");
    running.finish().await.unwrap();
}
