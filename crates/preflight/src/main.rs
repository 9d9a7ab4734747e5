//! Go or no-go before anything is touched; later: can this deploy be undone?
fn main() -> std::process::ExitCode {
    kit_step::main(&preflight::program())
}
