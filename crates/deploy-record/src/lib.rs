//! `deploy-record` opens and closes a deploy: it takes the lock, extends the chain, and computes the
//! record from the artifacts of all steps. It is the only step that publishes artifacts to the store.
#![warn(missing_docs)]

mod adopt;
mod assemble;
mod begin;
mod finish;
mod gather;
mod history;
mod judge;
mod keep;
mod place;
mod publish;
mod render;
mod store;
mod verify;

use kit_step::Program;

/// The program.
pub fn program() -> Program {
    Program::new("deploy-record", "Begins and finishes a deploy in the store: lock, chain, record")
        .step::<begin::BeginDeploy>()
        .step::<finish::Finish>()
        .step::<adopt::Adopt>()
        .tool::<verify::Verify>()
        .tool::<history::List>()
        .tool::<history::Show>()
        .tool::<keep::Keep>()
        .tool::<keep::Bring>()
}
