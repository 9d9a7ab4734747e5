//! Go or no-go before anything is touched.
fn main() -> std::process::ExitCode {
    kit_step::main(&preflight::program())
}
