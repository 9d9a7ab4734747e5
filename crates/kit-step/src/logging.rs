//! Diagnostics through `tracing`, printed by the sanitising writer.

use kit_core::Out;
use std::io::Write;
use tracing_subscriber::fmt::MakeWriter;

/// Sends diagnostics to `out`. Only the first call of a process counts.
pub(crate) fn start(out: &Out, verbose: bool) {
    let level = if verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
    // A second program in one process (tests) keeps the first one's subscriber.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Lines(out.clone()))
        .try_init();
}

struct Lines(Out);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Event;
    fn make_writer(&'a self) -> Event {
        Event { out: self.0.clone(), text: Vec::new() }
    }
}

/// Collects one event and prints it whole.
struct Event {
    out: Out,
    text: Vec<u8>,
}

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.out.say(&String::from_utf8_lossy(&self.text));
    }
}
