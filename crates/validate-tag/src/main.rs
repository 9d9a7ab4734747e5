//! `validate-tag`: is this a release that may be deployed?

fn main() -> std::process::ExitCode {
    kit_step::main(&validate_tag::program())
}
