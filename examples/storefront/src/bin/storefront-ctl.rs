//! The driver script of the demo shop's owner.

fn main() -> std::process::ExitCode {
    storefront::ctl::main()
}
