//! Backs up every database and tries the restore.
fn main() -> std::process::ExitCode {
    kit_step::main(&db_backup::program())
}
