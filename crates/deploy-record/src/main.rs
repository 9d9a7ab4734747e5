//! Begins and finishes a deploy in the store: lock, chain, record.
fn main() -> std::process::ExitCode {
    kit_step::main(&deploy_record::program())
}
