//! Brings a database back from a proved backup.
fn main() -> std::process::ExitCode {
    kit_step::main(&db_restore::program())
}
