//! Addresses and headers, and that none of them holds a secret: `deploy.toml` is committed, shown and kept
//! in the record.

use super::{ConfigError, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Header names that hold one of these words carry secrets.
const SECRET_WORDS: [&str; 7] = ["auth", "cookie", "token", "secret", "password", "key", "session"];

/// The value of a header: as it is, or where the secret is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a header is a text, or { env = \"NAME\" } for a secret")]
pub enum HeaderValue {
    /// Anybody may read it.
    Plain(String),
    /// A secret: the environment variable holds the whole value, for example `Bearer …`.
    Secret(SecretRef),
}

/// Headers by name.
pub type Headers = BTreeMap<String, HeaderValue>;

/// The secrets that headers name.
pub(super) fn secrets_of(headers: &Headers) -> impl Iterator<Item = &SecretRef> {
    headers.values().filter_map(|value| match value {
        HeaderValue::Plain(_) => None,
        HeaderValue::Secret(reference) => Some(reference),
    })
}

/// An absolute http or https address with a host, and without credentials.
pub(super) fn check_address(path: &str, url: &str) -> Result<(), ConfigError> {
    let authority = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    if authority.is_some_and(|authority| authority.contains('@')) {
        let mut error = ConfigError::rule(path, "the address holds a user name or a password");
        error.hint = Some("send it as a header: headers = { authorization = { env = \"NAME\" } }".to_owned());
        return Err(error);
    }
    if authority.is_none_or(str::is_empty) || url.contains(char::is_whitespace) {
        // Before the first @ there may be a secret.
        let shown = url.rsplit('@').next().unwrap_or(url);
        let message = format!("{shown:?} is not an absolute http or https address");
        return Err(ConfigError::rule(path, message));
    }
    Ok(())
}

/// Whatever a header of this name holds is a secret, so it must not stand in the file.
pub(super) fn check_headers(path: &str, headers: &Headers) -> Result<(), ConfigError> {
    let pasted = headers.iter().find(|(name, value)| {
        let name = name.to_ascii_lowercase();
        matches!(value, HeaderValue::Plain(_)) && SECRET_WORDS.iter().any(|word| name.contains(word))
    });
    let Some((name, _)) = pasted else { return Ok(()) };
    let mut error = ConfigError::rule(
        format!("{path}.headers.{name}"),
        "a header of this name carries a secret, which must not stand in deploy.toml",
    );
    error.hint = Some(format!("name the variable that holds it: {name} = {{ env = \"NAME\" }}"));
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["http://localhost:8080", "https://shop.example/health?x=a@b", "http://[::1]/"] {
            assert_eq!(check_address("x", good), Ok(()), "{good}");
        }
        for bad in
            ["", "/health", "shop.example", "ftp://shop.example", "http://", "https:///x", "http://a b/"]
        {
            let error = check_address("services.api.url", bad).unwrap_err();
            assert!(error.message.contains("is not an absolute http or https address"), "{bad}: {error}");
        }
        for secret in ["https://u:hunter2@shop.example/", "u:hunter2@shop.example"] {
            let error = check_address("x", secret).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_do_not_stand_in_headers() {
        let headers = |name: &str, value: HeaderValue| Headers::from([(name.to_owned(), value)]);
        let plain = || HeaderValue::Plain("hunter2".to_owned());
        for name in ["Authorization", "X-Api-Key", "cookie", "x-session-id"] {
            let error = check_headers("smoke.checks.home", &headers(name, plain())).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert_eq!(error.path, format!("smoke.checks.home.headers.{name}"));
            let named = HeaderValue::Secret(SecretRef { env: "X".to_owned() });
            assert_eq!(check_headers("x", &headers(name, named)), Ok(()));
        }
        assert_eq!(check_headers("x", &headers("x-deploy-target", plain())), Ok(()));
    }
}
