//! Child processes. The only crate that starts any.
//!
//! A [`Command`] is a program and its arguments, never a line for a shell. Its child
//!
//! - gets secrets through its environment, never through its arguments, which every user of the
//!   machine can read;
//! - leads a process group of its own, so that Ctrl-C in a terminal reaches it once, through us, and
//!   so that what it started ends with it;
//! - is ended when the step is cancelled, when its deadline passes or when its future is dropped.
//!   A CI runner signals the entry process alone (actions/runner, `ProcessInvoker.cs`): without us
//!   the child would go on as an orphan;
//! - cannot ask anybody anything: its stdin is empty unless given, and no terminal is its own.
//!
//! What it prints is a stranger's text: it reaches the log only redacted and sanitised.
//!
//! Children live in real time. Do not start any under tokio's paused time: it would run ahead of them.
#![warn(missing_docs)]

mod command;
mod container;
mod environment;
mod error;
mod group;
mod lines;
mod members;
mod running;
mod sink;
mod stdin;
mod supervise;

pub use command::Command;
pub use container::{Container, Image, Trouble};
pub use environment::{EnvPolicy, which};
pub use error::{ExecError, Status};
pub use running::{Output, Running};
pub use sink::Stdout;
pub use stdin::Stdin;
