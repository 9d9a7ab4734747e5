//! `preflight` asks everything that can be asked before anything is touched; `preflight readiness` asks,
//! after the build and before the first change, whether the deploy can be undone.
//!
//! Every check runs, side by side, and none stops the others: whoever reads the result sees all that is
//! wrong at once. What could not be asked is never healthy. A check can be overridden with a reason, which
//! the record keeps open; those that keep two deploys apart cannot.
//!
//! The story: [`checks`] lists the checks, one file each; [`run`] runs them on what they share, the
//! [`world`]; [`verdict`] decides; [`overrides`] says which may be overridden.
#![warn(missing_docs)]

mod args;
mod checks;
mod finding;
mod go;
mod overrides;
mod readiness;
mod report;
mod run;
mod verdict;
mod world;

use kit_step::Program;

/// The program.
pub fn program() -> Program {
    Program::new("preflight", "Go or no-go before anything is touched")
        .step::<go::Go>()
        .step::<readiness::Ready>()
}
