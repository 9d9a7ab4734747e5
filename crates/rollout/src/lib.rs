//! `rollout` moves traffic: to the next stage, back to zero (`abort`), or for good (`promote`).
//!
//! A share counts only once the router was *observed* at it, for every service; a stage that is not
//! reached is withdrawn at once. Withdrawing has no guards: it is never refused.
#![warn(missing_docs)]

mod abort;
mod hold;
mod promote;
mod stage;
mod status;
mod traffic;

use kit_step::Program;

/// The program.
pub fn program() -> Program {
    Program::new("rollout", "Moves traffic to the new version stage by stage, and withdraws it")
        .step::<stage::Stage>()
        .step::<abort::Abort>()
        .step::<promote::Promote>()
        .tool::<status::Status>()
        .tool::<hold::HoldTool>()
}
