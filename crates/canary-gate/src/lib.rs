//! `canary-gate`: may the canary go on to the next stage?
//!
//! [`watch`] is the step. It settles what is watched and for how long ([`plan`]), probes canary and
//! baseline of every service side by side ([`sample`]), or reads what others count ([`source`]), asks what
//! the user's [`rules`] ask for, and hands what came of it, tick by tick, to the [`Judge`], a pure state
//! machine: samples in, verdict out. Every tick is written down first ([`journal`]), so that [`replay`] can
//! come to the same verdict again, bit by bit.
//!
//! The gate does not talk to the store: [`stop`] looks for a file, and [`hold`] keeps the program that
//! writes it running beside.
//!
//! [`baseline`] measures the version that serves now, before and after a migration.
//!
//! [`forecast`] says beforehand what a stage could see, and what its limits cost.
//!
//! Unknown is never healthy: a canary that nobody could ask is `inconclusive`, not promoted. Nor is it
//! called bad: where canary and baseline fail together, the verdict is `hold`.
#![warn(missing_docs)]

mod args;
mod baseline;
mod chart;
mod forecast;
mod hold;
mod journal;
pub mod judge;
mod live;
mod plan;
mod probe;
mod replay;
mod report;
mod rules;
mod sample;
mod source;
mod stop;
pub mod tick;
mod watch;

pub use judge::Judge;
pub use tick::Tick;

use kit_step::Program;

/// The program.
pub fn program() -> Program {
    Program::new("canary-gate", "Watches the canary of one stage and says whether it may go on")
        .step::<watch::Watch>()
        .step::<baseline::Baseline>()
        .tool::<forecast::Plan>()
        .tool::<replay::Replay>()
}
