//! The HTTP client: plain HTTP to loopback, nothing else.

/// Follows no redirect and no proxy of the environment: what answers must be the address that was asked.
pub(crate) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        // Plain HTTP needs no root certificates; loading the system's takes longer than all the rest.
        .tls_certs_only([])
}
