//! Probing: asks one question over the network and says what came back.
//!
//! A [`Prober`] sends one [`Request`] and gives an [`Outcome`]: an [`Answer`], whatever it says, or the
//! reason why no whole answer came. It never tries again and never follows a redirect: a redirect is
//! an answer, and how often to ask is for the steps to decide.
//!
//! Whether an answer is the right one is decided by [`check`], a pure function.
//!
//! What a server says is a stranger's text. Everything here that is made for people, [`Mismatch`] and
//! [`NoAnswer::message`], is one short line without control characters; bodies are kept as they came.
//!
//! Probes live in real time. Do not send any under tokio's paused time: it would run ahead of them.
#![warn(missing_docs)]

mod classify;
mod error;
mod expectation;
mod outcome;
mod prober;
mod proxy;
mod request;
mod tcp;
mod text;
mod vars;

pub use error::ProbeError;
pub use expectation::{Mismatch, check, validate, validate_vars};
pub use outcome::{Answer, NoAnswer, NoAnswerKind, Outcome};
pub use prober::{BODY_LIMIT_BYTES, Options, Prober};
pub use request::Request;
pub use tcp::{TcpOutcome, tcp_connect};
pub use vars::{Vars, substitute};
