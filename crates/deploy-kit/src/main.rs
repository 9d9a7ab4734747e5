//! `deploy-kit <step> …` runs a step; `deploy-kit <command> …` runs what is around them.
fn main() -> std::process::ExitCode {
    deploy_kit::main()
}
