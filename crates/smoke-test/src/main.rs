//! `smoke-test`: does the release do what it must?

fn main() -> std::process::ExitCode {
    kit_step::main(&smoke_test::program())
}
