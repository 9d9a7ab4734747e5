//! Moves traffic to the new version stage by stage, and withdraws it.
fn main() -> std::process::ExitCode {
    kit_step::main(&rollout::program())
}
