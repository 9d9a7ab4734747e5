//! Proxies, from the captured environment.

use crate::ProbeError;
use kit_contract::Reason;
use kit_core::Env;
use reqwest::{NoProxy, Proxy};

/// Loopback is this machine: no proxy can know what listens here.
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name, in capitals or not.
///
/// # Errors
/// If one cannot be used. Its value is never shown: it may hold a password.
pub(crate) fn from_env(env: &Env) -> Result<Vec<Proxy>, ProbeError> {
    let either = |upper: &'static str, lower: &'static str| {
        env.get(upper).map(|value| (upper, value)).or_else(|| env.get(lower).map(|value| (lower, value)))
    };
    let except = either("NO_PROXY", "no_proxy")
        .map_or_else(|| NEVER_PROXIED.to_owned(), |(_, listed)| format!("{listed},{NEVER_PROXIED}"));
    let mut proxies = Vec::new();
    for (found, for_https) in
        [(either("HTTP_PROXY", "http_proxy"), false), (either("HTTPS_PROXY", "https_proxy"), true)]
    {
        let Some((variable, address)) = found else { continue };
        let made = if for_https { Proxy::https(address) } else { Proxy::http(address) };
        let proxy = made.map_err(|_| {
            ProbeError::new(format!("{variable} is not the address of a proxy"))
                .hint(Some("write it as \"http://proxy.example:3128\"".to_owned()))
                .reason(Reason::UsageError)
        })?;
        proxies.push(proxy.no_proxy(NoProxy::from_string(&except)));
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_and_not_shown() {
        let env = Env::from([("https_proxy", "http://user:hunter2@proxy:notaport")]);
        let error = from_env(&env).unwrap_err();
        assert_eq!(error.message, "https_proxy is not the address of a proxy");
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!(from_env(&Env::default()).unwrap().len(), 0);
        let both =
            Env::from([("HTTP_PROXY", "http://a:1"), ("http_proxy", "bad::"), ("HTTPS_PROXY", "http://b:1")]);
        assert_eq!(from_env(&both).unwrap().len(), 2);
    }
}
