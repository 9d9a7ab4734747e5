//! Tells people how a deploy or a rollback ended.
fn main() -> std::process::ExitCode {
    kit_step::main(&notify::program())
}
