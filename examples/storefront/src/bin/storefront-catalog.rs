//! The catalog service of the demo shop.

fn main() -> std::process::ExitCode {
    storefront::service::main(storefront::service::Service::Catalog)
}
