//! `preflight` asks everything that can be asked without changing anything, before anything is changed.
//!
//! All checks run side by side and none stops the others, so that one run shows everything that is
//! wrong. "Could not ask" is not "no", and it is not "yes" either: it ends inconclusive.
#![warn(missing_docs)]

mod check;
mod checks;
mod go;
mod memory;
mod readiness;
mod verdict;

use kit_step::Program;

/// The program.
pub fn program() -> Program {
    Program::new("preflight", "Go or no-go before anything is touched; later: can this be undone?")
        .step::<go::Go>()
        .step::<readiness::ReadinessStep>()
}
