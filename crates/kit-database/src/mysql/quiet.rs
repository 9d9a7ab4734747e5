//! Keeps events of a restored database from running before it is live. Pure.
//!
//! A dump creates events as they were: enabled ones begin to run at once, if the server's scheduler is on,
//! and change what was just restored. So they are created as `DISABLE ON SLAVE`, which is our mark for "was
//! enabled", and enabled again when the database takes the place of the live one. Those that had this state
//! already, in a dump that was made on a replica, come back disabled.

use super::scan::event_status;
use memchr::{memchr, memmem};

/// What becomes of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Events {
    /// Created as the dump has them: the server runs none.
    AsTheyAre,
    /// Put to sleep.
    Asleep,
    /// Woken, if we put them to sleep.
    Awake,
    /// Disabled: in the database that gave way nothing runs any more.
    Off,
}

/// The state that says "was enabled".
const ASLEEP: &str = "DISABLE ON SLAVE";
const MARK: &[u8] = b"\n/*!50106 CREATE*/ ";

impl Events {
    fn status(self, status: &'static str) -> &'static str {
        match (self, status) {
            (Self::AsTheyAre, status) => status,
            (Self::Asleep, "ENABLE") => ASLEEP,
            (Self::Awake, ASLEEP | "DISABLE ON REPLICA") => "ENABLE",
            (Self::Asleep | Self::Awake | Self::Off, _) => "DISABLE",
        }
    }
}

/// Rewrites a dump piece by piece.
pub(super) struct Quieten {
    events: Events,
    /// From a line end that may be the beginning of an event.
    held: Vec<u8>,
}

impl Quieten {
    pub(super) const fn new(events: Events) -> Self {
        Self { events, held: Vec::new() }
    }

    /// What of this can be handed on.
    pub(super) fn pass(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.events == Events::AsTheyAre {
            return bytes;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(&bytes);
        let mut out = Vec::with_capacity(text.len() + 64);
        let mut rest = text.as_slice();
        while let Some(at) = memmem::find(rest, MARK) {
            let (before, event) = rest.split_at(at + 1);
            let Some(end) = memchr(b'\n', event) else { break };
            let (line, after) = event.split_at(end);
            out.extend_from_slice(before);
            out.extend_from_slice(&self.rewritten(line));
            rest = after;
        }
        let keep = beginning(rest);
        let (pass, held) = rest.split_at(rest.len() - keep);
        out.extend_from_slice(pass);
        self.held = held.to_vec();
        out
    }

    /// What was held back, after the end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn rewritten(&self, line: &[u8]) -> Vec<u8> {
        let Some((at, status)) = event_status(line) else { return line.to_vec() };
        let (before, after) = line.split_at(at);
        let after = after.strip_prefix(status.as_bytes()).unwrap_or(after);
        [before, self.events.status(status).as_bytes(), after].concat()
    }
}

/// How many of the last bytes may be the beginning of an event whose line is not whole.
fn beginning(text: &[u8]) -> usize {
    if let Some(at) = memmem::find(text, MARK) {
        return text.len() - at;
    }
    (1..MARK.len().min(text.len() + 1))
        .rev()
        .find(|length| MARK.get(..*length).is_some_and(|mark| text.ends_with(mark)))
        .unwrap_or_default()
}

/// The whole of a script.
pub(super) fn rewrite(events: Events, script: Vec<u8>) -> Vec<u8> {
    let mut quieten = Quieten::new(events);
    let mut out = quieten.pass(script);
    out.extend(quieten.rest());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(first: &str, second: &str) -> String {
        format!(
            "/*!50106 nothing */\nINSERT INTO `t` VALUES\n(1,'\\n/*!50106 CREATE*/ x PRESERVE ENABLE');\n\
             /*!50106 CREATE*/ EVENT `a` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE {first} COMMENT ' PRESERVE ENABLE' DO\n\
             /*!50106 CREATE*/ EVENT `b` ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE {second} DO SELECT 1\n/*!50106 CREA"
        )
    }

    #[test]
    fn events_sleep_and_wake_however_the_dump_is_cut() {
        for (events, before, after) in [
            (Events::Asleep, ("ENABLE", "DISABLE"), ("DISABLE ON SLAVE", "DISABLE")),
            (Events::Asleep, ("DISABLE ON SLAVE", "ENABLE"), ("DISABLE", "DISABLE ON SLAVE")),
            (Events::Awake, ("DISABLE ON SLAVE", "DISABLE"), ("ENABLE", "DISABLE")),
            (Events::Off, ("ENABLE", "DISABLE ON SLAVE"), ("DISABLE", "DISABLE")),
            (Events::AsTheyAre, ("ENABLE", "DISABLE ON SLAVE"), ("ENABLE", "DISABLE ON SLAVE")),
        ] {
            let text = dump(before.0, before.1);
            for size in [1, 2, 5, 19, 64, text.len()] {
                let mut quieten = Quieten::new(events);
                let mut out = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    out.extend(quieten.pass(piece.to_vec()));
                }
                out.extend(quieten.rest());
                assert_eq!(String::from_utf8(out).unwrap(), dump(after.0, after.1), "{events:?} {size}");
            }
        }
    }
}
