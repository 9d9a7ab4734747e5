//! `migrate`: applies pending migrations, but only after a proved backup of the same deployment.
//!
//! What is pending is asked of each database (`databases`); drift and half-applied migrations are refused
//! before anything is changed. What a backup must be is decided by a pure table (`policy`), on what the
//! artifact claims and the store confirms (`safety`). Then one migration after the other is applied, each
//! announced in the journal before and concluded after (`apply`). `plan` only looks.
#![warn(missing_docs)]

mod apply;
mod databases;
mod journal;
mod phase;
mod plan;
mod policy;
mod safety;

use kit_step::Program;

/// The program.
pub fn program() -> Program {
    Program::new("migrate", "Applies pending migrations after a proved backup of the same deployment")
        .step::<apply::Migrate>()
        .tool::<plan::Plan>()
}
