//! A terminal: a process at one end of it, a person at the other.

use crate::process::{Ran, Started};
use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A process whose three streams are a terminal of its own. Dropping it ends the process.
#[derive(Debug)]
pub struct Terminal {
    started: Started,
    keyboard: File,
}

impl Terminal {
    pub(crate) fn start(mut command: Command) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has terminals");
        fcntl_setfd(&person, FdFlags::CLOEXEC).expect("it is ours alone");
        grantpt(&person).expect("it is ours");
        unlockpt(&person).expect("it is ours");
        let name = ptsname(&person, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let program = File::from(rustix::fs::open(name, flags, Mode::empty()).expect("its other end"));
        let end = || Stdio::from(program.try_clone().expect("one more of it"));
        command.stdin(end()).stdout(end()).stderr(end());
        let keyboard = File::from(person);
        let screen = keyboard.try_clone().expect("one more of it");
        Self { started: Started::at_terminal(command, screen), keyboard }
    }

    /// Waits until this was to be seen.
    pub fn wait_for(&self, text: &str) {
        self.started.wait_for_data(text);
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).expect("the terminal takes it");
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.started.signal(signal);
    }

    /// Waits for its end. What was to be seen, and what was typed, is its stdout.
    pub fn wait(self) -> Ran {
        self.started.wait()
    }
}
