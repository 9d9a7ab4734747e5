//! The one writer. Everything that a step prints goes through it: redacted, then sanitised.

use crate::text::sanitise_whole;
use crate::{Level, Redactor, WorkflowCommand, sanitise};
use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex};

/// Prints for people on stderr and for programs on stdout.
///
/// Text is redacted and sanitised line by line, whoever wrote it; only a [`WorkflowCommand`], whose
/// content is escaped by its type, is printed as it is. A broken pipe never ends a step: what it did
/// is in its artifact.
#[derive(Clone)]
pub struct Out(Arc<Inner>);

struct Inner {
    stdout: Mutex<Stream>,
    stderr: Mutex<Stream>,
    redactor: Redactor,
    commands: bool,
    /// Whoever reads it sees what is drawn over what was there.
    is_terminal: bool,
}

struct Stream {
    writer: Box<dyn Write + Send>,
    /// True while a line stands there that is not finished and will be written over.
    status: bool,
}

/// Back to the beginning of the line, and clear it: ECMA-48, CR and EL.
const ERASE_LINE: &str = "\r\u{1b}[K";

/// What a captured [`Out`] printed.
#[derive(Clone, Default)]
pub struct Captured {
    stdout: Buffer,
    stderr: Buffer,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Ok(mut buffer) = self.0.lock() {
            buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    /// Everything printed for programs so far.
    pub fn stdout(&self) -> String {
        Self::text(&self.stdout)
    }

    /// Everything printed for people so far.
    pub fn stderr(&self) -> String {
        Self::text(&self.stderr)
    }

    /// Keeps what is printed as on a terminal.
    #[cfg(test)]
    pub(crate) fn on_a_terminal(&self) -> Out {
        Out::new(
            Box::new(self.stdout.clone()),
            Box::new(self.stderr.clone()),
            Redactor::default(),
            false,
            true,
        )
    }

    fn text(buffer: &Buffer) -> String {
        buffer.0.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Out {
    /// Prints to the process's own streams. `commands` says whether a runner listens that obeys
    /// workflow commands.
    pub fn process(redactor: Redactor, commands: bool) -> Self {
        let is_terminal = !commands && std::io::stderr().is_terminal();
        Self::new(Box::new(std::io::stdout()), Box::new(std::io::stderr()), redactor, commands, is_terminal)
    }

    /// Keeps everything in memory, as if inside GitHub Actions; for tests.
    pub fn captured(redactor: Redactor) -> (Self, Captured) {
        let captured = Captured::default();
        let out = Self::new(
            Box::new(captured.stdout.clone()),
            Box::new(captured.stderr.clone()),
            redactor,
            true,
            false,
        );
        (out, captured)
    }

    fn new(
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        redactor: Redactor,
        commands: bool,
        is_terminal: bool,
    ) -> Self {
        let stream = |writer| Mutex::new(Stream { writer, status: false });
        let (stdout, stderr) = (stream(stdout), stream(stderr));
        Self(Arc::new(Inner { stdout, stderr, redactor, commands, is_terminal }))
    }

    /// Says something to people. Several lines stay several lines.
    pub fn say(&self, text: &str) {
        for line in text.lines() {
            self.line(&self.0.stderr, "", line);
        }
    }

    /// Puts a question to a person; the answer is typed behind it.
    pub fn prompt(&self, question: &str) {
        write_raw(&self.0.stderr, &format!("{} ", self.clean(question)));
    }

    /// True if a person watches on a terminal, so that a view can be [redrawn](Self::redraw).
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal
    }

    /// Draws a view over the one before, which had so many lines; for terminals. A line that is longer than
    /// a row is cut: it would take two, and the next view would not cover it.
    pub fn redraw(&self, lines_before: usize, view: &[String]) {
        if lines_before > 0 {
            // Up, and clear to the end of the screen: ECMA-48, CPL and ED.
            write_raw(&self.0.stderr, &format!("\u{1b}[{lines_before}F\u{1b}[J"));
        }
        let row = row_chars();
        for line in view {
            let line: String = self.clean(line).chars().take(row).collect();
            write_line(&self.0.stderr, &line);
        }
    }

    /// Writes a line that the next one replaces, whoever writes it; for terminals, elsewhere nothing is written.
    pub fn status(&self, line: &str) {
        if !self.0.is_terminal {
            return;
        }
        let line: String = self.clean(line).chars().take(row_chars()).collect();
        if let Ok(mut stream) = self.0.stderr.lock() {
            stream.write(&format!("{ERASE_LINE}{line}"));
            stream.status = true;
        }
    }

    /// Takes away what [`Out::status`] wrote last, if it still stands there.
    pub fn clear_status(&self) {
        write_raw(&self.0.stderr, "");
    }

    /// Repeats one line that somebody else wrote: a child's output, a remote answer. `source` names
    /// them and stands before every line, so that nobody mistakes it for ours.
    pub fn foreign(&self, source: &str, line: &str) {
        self.line(&self.0.stderr, &format!("  {}| ", self.clean(source)), line);
    }

    /// Gives data to programs, whole however long it is. Several lines stay several lines.
    pub fn data(&self, text: &str) {
        // Both streams may lead to the same terminal.
        self.clear_status();
        for line in text.lines() {
            let redacted = self.0.redactor.redact(line);
            write_line(&self.0.stdout, &self.0.redactor.redact(&sanitise_whole(&redacted)));
        }
    }

    /// Puts an annotation on the run; does nothing where no runner listens. Several lines stay several
    /// lines.
    pub fn annotate(&self, level: Level, title: &str, message: &str) {
        if self.0.commands {
            // Cleaned before it is escaped: escaping takes a secret with a percent sign apart.
            let message: Vec<String> = message.lines().map(|line| self.clean(line)).collect();
            let command = WorkflowCommand::annotation(level, &self.clean(title), &message.join("\n"));
            self.command(&command);
        }
    }

    /// Tells the runner to hide `value` from here on. The one command that is not redacted.
    pub fn mask(&self, value: &str) {
        if self.0.commands {
            for command in WorkflowCommand::add_mask(value) {
                self.command(&command);
            }
        }
    }

    /// The runner listens on both streams; stdout is left to data, so that it can be captured.
    fn command(&self, command: &WorkflowCommand) {
        write_line(&self.0.stderr, command.as_str());
    }

    /// The text as it would be printed.
    pub fn clean(&self, line: &str) -> String {
        // Redacted before and after: cleaning may join what an escape sequence had split.
        let redacted = self.0.redactor.redact(line);
        self.0.redactor.redact(&sanitise(&redacted))
    }

    fn line(&self, stream: &Mutex<Stream>, prefix: &str, line: &str) {
        write_line(stream, &format!("{prefix}{}", self.clean(line)));
    }
}

fn write_line(stream: &Mutex<Stream>, line: &str) {
    write_raw(stream, &format!("{line}\n"));
}

/// Characters in a row of the terminal. It may change while somebody looks.
fn row_chars() -> usize {
    const USUAL: usize = 80;
    rustix::termios::tcgetwinsize(std::io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(USUAL)
}

fn write_raw(stream: &Mutex<Stream>, text: &str) {
    if let Ok(mut stream) = stream.lock() {
        if std::mem::take(&mut stream.status) {
            stream.write(ERASE_LINE);
        }
        stream.write(text);
    }
}

impl Stream {
    /// Nobody may be listening any more; the artifact still tells what happened.
    fn write(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = self.writer.write_all(text.as_bytes());
            let _ = self.writer.flush();
        }
    }
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_raw_but_commands() {
        let redactor = Redactor::default();
        redactor.learn("hunter2hunter2");
        let (out, captured) = Out::captured(redactor);
        out.foreign("pg_dump", "::set-output name=x::y hunter2hunter2");
        out.say("first\n##[error]second");
        out.say("hunter2\u{1b}[0mhunter2 split by an escape");
        out.data("::error::not a command");
        out.annotate(Level::Error, "step", "real hunter2hunter2\n##[error]forged");
        out.foreign("psql hunter2hunter2", &"x".repeat(10_000));
        out.data(&"y".repeat(10_000));
        let printed = captured.stderr();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "  pg_dump| : :set-output name=x::y ***",
                "first",
                "# #[error]second",
                "*** split by an escape",
                "::error title=step::real ***%0A# #[error]forged"
            ]
        );
        assert!(lines[5].starts_with("  psql ***| xxx") && lines[5].ends_with("(cut)"));
        let data = captured.stdout();
        assert!(data.starts_with(": :error::not a command\n"));
        assert!(data.contains(&"y".repeat(10_000)), "data is never cut");
    }
}
