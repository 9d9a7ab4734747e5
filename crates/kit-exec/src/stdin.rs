//! What a child reads.

use kit_core::Cancel;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio_util::sync::CancellationToken;

/// What a child reads from its stdin.
#[derive(Default)]
pub enum Stdin {
    /// Nothing: the end, at once. Nobody is there to answer a question.
    #[default]
    Empty,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// Everything that this gives, then the end. If it fails, the child is ended without ever seeing
    /// an end: it must not take part of its input for the whole.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

const CHUNK_BYTES: usize = 64 * 1024;

/// How far the input came.
pub(crate) struct Fed {
    /// Why it could not be read to its end.
    pub(crate) broken: Option<std::io::Error>,
    /// Kept open unless the input is at its end, because closing it would say "that was all".
    _pipe: Option<ChildStdin>,
}

/// Writes `input` to the child until it is to end, by `cancel` or `freeze`: a child that is asked to end
/// must get no more work.
/// A child that stops reading is no error: its exit code says whether it was content. Asks by `halt`
/// for the child to be ended if the input cannot be read.
pub(crate) async fn feed(
    input: Stdin,
    mut pipe: ChildStdin,
    halt: CancellationToken,
    freeze: CancellationToken,
    cancel: Cancel,
) -> Fed {
    // Asked before each piece too: a pipe that always has room lets a hundred of them pass in one poll.
    let to_end = || freeze.is_cancelled() || cancel.is_cancelled();
    match cancel.unless(freeze.run_until_cancelled(pour(input, &mut pipe, to_end))).await.flatten() {
        Some(Ok(())) => Fed { broken: None, _pipe: None },
        Some(Err(source)) => {
            halt.cancel();
            Fed { broken: Some(source), _pipe: Some(pipe) }
        }
        None => Fed { broken: None, _pipe: Some(pipe) },
    }
}

async fn pour(input: Stdin, pipe: &mut ChildStdin, to_end: impl Fn() -> bool) -> std::io::Result<()> {
    match input {
        Stdin::Empty => {}
        Stdin::Bytes(bytes) => {
            let _ = pipe.write_all(&bytes).await;
        }
        Stdin::Stream(mut stream) => {
            let mut chunk = vec![0_u8; CHUNK_BYTES];
            loop {
                if to_end() {
                    // Whoever set it has woken the caller, who drops this.
                    std::future::pending::<()>().await;
                }
                let count = stream.read(&mut chunk).await?;
                let piece = chunk.get(..count).unwrap_or_default();
                if piece.is_empty() || pipe.write_all(piece).await.is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}
