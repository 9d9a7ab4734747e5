//! The weighted router of the demo shop.

fn main() -> std::process::ExitCode {
    storefront::router::main()
}
