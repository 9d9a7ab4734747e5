//! Applies pending migrations, but only after a proved backup of the same deployment.
fn main() -> std::process::ExitCode {
    kit_step::main(&migrate::program())
}
