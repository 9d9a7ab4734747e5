//! Asks the person at the terminal.

use crate::Context;
use std::io::{BufRead as _, IsTerminal as _, Read as _};

/// No answer is longer.
const LIMIT_BYTES: u64 = 4096;

/// True if somebody sits there who sees a question and can answer it. Never in a CI, whose streams may look like a
/// terminal.
pub fn can_ask(cx: &Context) -> bool {
    cx.out.is_terminal() && !cx.env.in_ci() && std::io::stdin().is_terminal()
}

/// Puts a question, and gives the line that is typed, without blanks around it. `None`: nothing was typed, because the
/// input ended or the step was told to stop.
pub async fn ask(cx: &Context, question: &str) -> Option<String> {
    cx.out.prompt(question);
    let (answered, answer) = tokio::sync::oneshot::channel();
    // A thread of its own, which nobody waits for: one of the runtime's would hold up the end of the program until
    // somebody presses a key.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().take(LIMIT_BYTES).read_line(&mut line);
        // Nobody may be waiting any more.
        let _ = answered.send(read.is_ok_and(|bytes| bytes > 0).then_some(line));
    });
    let line = cx.cancel.unless(answer).await?.ok()??;
    Some(line.trim().to_owned())
}
