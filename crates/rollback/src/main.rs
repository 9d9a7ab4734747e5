//! Puts a deployment right: withdraws a canary, switches back a release, closes what a dead run left.
fn main() -> std::process::ExitCode {
    kit_step::main(&rollback::program())
}
