//! Watches the canary of one stage and says whether it may go on.
fn main() -> std::process::ExitCode {
    kit_step::main(&canary_gate::program())
}
