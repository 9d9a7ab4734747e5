//! What is asked. Everything that could keep it from being sent is found here, beforehand.

use crate::{ProbeError, text::short_line};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest address; HTTP libraries and servers stop at 8 KiB and beyond.
const LONGEST_URL_BYTES: usize = 8192;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Header names that people write often; for hints only.
pub(crate) const COMMON_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-security-policy",
    "content-type",
    "cookie",
    "etag",
    "host",
    "location",
    "origin",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "user-agent",
    "vary",
    "www-authenticate",
    "x-forwarded-for",
    "x-request-id",
];

/// Framing of the message: a wrong one makes a request that no server can read.
const OURS: &[&str] = &["content-length", "transfer-encoding"];

/// A request that can be sent.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
    pub(crate) timeout: Duration,
}

impl Request {
    /// A request. `url` is absolute, http or https, with placeholders filled in; a `host` header
    /// overrides the one of the address, which still settles where to connect and the name in TLS.
    /// `timeout` is for everything, from the name look-up to the last byte.
    ///
    /// # Errors
    /// If a part of it cannot be sent.
    pub fn new(
        method: &str,
        url: &str,
        headers: &BTreeMap<String, String>,
        body: Option<String>,
        timeout: Duration,
    ) -> Result<Self, ProbeError> {
        if timeout.is_zero() {
            return Err(ProbeError::new("a timeout of zero lets nothing through"));
        }
        Ok(Self {
            method: parse_method(method)?,
            url: parse_url(url)?,
            headers: parse_headers(headers)?,
            body,
            timeout,
        })
    }

    /// The address without user, password, query and fragment.
    pub fn target(&self) -> String {
        kit_core::display_url(self.url.as_str())
    }
}

/// Without header values, body and the secret parts of the address.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target())
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .finish()
    }
}

fn parse_method(method: &str) -> Result<Method, ProbeError> {
    match METHODS.iter().find(|known| **known == method) {
        Some(known) => {
            Method::from_bytes(known.as_bytes()).map_err(|_| ProbeError::new("the method is not one of HTTP"))
        }
        None => {
            let message =
                format!("{:?} is not a method: use one of {}", short_line(method), METHODS.join(", "));
            Err(ProbeError::new(message).near(&method.to_ascii_uppercase(), METHODS))
        }
    }
}

fn parse_url(text: &str) -> Result<Url, ProbeError> {
    if text.len() > LONGEST_URL_BYTES {
        let message =
            format!("the address has {} bytes; at most {LONGEST_URL_BYTES} are allowed", text.len());
        return Err(ProbeError::new(message));
    }
    // The text itself is not shown: where it cannot be parsed, nobody knows which part is the password.
    let url = Url::parse(text).map_err(|error| {
        ProbeError::new(format!("the address cannot be parsed: {error}"))
            .hint(Some("write it in full, for example \"https://shop.example/health\"".to_owned()))
    })?;
    let shown = kit_core::display_url(text);
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("{shown:?} is neither http nor https");
        return Err(ProbeError::new(message).near(url.scheme(), &["http", "https"]));
    }
    // The URL standard allows more in a host than a request line may hold (RFC 3986, 3.2.2).
    let sendable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    match url.host_str() {
        Some(host) if !host.is_empty() && host.chars().all(sendable) => Ok(url),
        _ => Err(ProbeError::new(format!("{shown:?} has no host that can be asked"))),
    }
}

fn parse_headers(headers: &BTreeMap<String, String>) -> Result<HeaderMap, ProbeError> {
    let mut parsed = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let key = parse_header_name(name)?;
        if OURS.contains(&key.as_str()) {
            let message = format!("header {key:?} cannot be given: it follows from the body");
            return Err(ProbeError::new(message));
        }
        let mut sent = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            ProbeError::new(format!("the value of header {key:?} holds a character that no header may hold"))
                .hint(Some("is there a line break at its end?".to_owned()))
        })?;
        sent.set_sensitive(true);
        if parsed.insert(&key, sent).is_some() {
            return Err(ProbeError::new(format!("header {key:?} is given twice, in different spellings")));
        }
    }
    Ok(parsed)
}

/// A header's name, or what is wrong with it and what was meant.
pub(crate) fn parse_header_name(name: &str) -> Result<HeaderName, ProbeError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let meant = name.trim().trim_end_matches(':').to_ascii_lowercase().replace([' ', '_'], "-");
        ProbeError::new(format!("{:?} is not the name of a header", short_line(name)))
            .near(&meant, COMMON_HEADERS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(method: &str, url: &str, header: &[(&str, &str)]) -> Result<Request, ProbeError> {
        let headers = header.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Request::new(method, url, &headers, None, Duration::from_secs(1))
    }

    #[test]
    fn what_cannot_be_sent_is_found_beforehand() {
        let none: &[(&str, &str)] = &[];
        let url = "http://h/";
        for (method, url, header, message, hint) in [
            ("get", url, none, "\"get\" is not a method", Some("did you mean \"GET\"?")),
            ("PSOT", url, none, "\"PSOT\" is not a method", Some("did you mean \"POST\"?")),
            ("CONNECT", url, none, "\"CONNECT\" is not a method", None),
            (
                "GET",
                "h/health",
                none,
                "cannot be parsed: relative URL without a base",
                Some("write it in full"),
            ),
            (
                "GET",
                "http://u:hunter2@h:99999/",
                none,
                "cannot be parsed: invalid port number",
                Some("write"),
            ),
            ("GET", "http:///", none, "cannot be parsed: empty host", Some("write")),
            ("GET", "htps://u:hunter2@h/", none, "\"htps://h/\" is neither", Some("did you mean \"https\"?")),
            ("GET", "file:///etc/passwd", none, "is neither http nor https", None),
            ("GET", "http://u:hunter2@{host}/", none, "has no host that can be asked", None),
            (
                "GET",
                url,
                &[("content type", "x")],
                "\"content type\" is not the name",
                Some("\"content-type\""),
            ),
            ("GET", url, &[("", "x")], "\"\" is not the name of a header", None),
            ("GET", url, &[("x-token", "hunter2\n")], "the value of header \"x-token\"", Some("line break")),
            ("GET", url, &[("Content-Length", "3")], "cannot be given", None),
            ("GET", url, &[("X-A", "1"), ("x-a", "2")], "is given twice", None),
        ] {
            let error = build(method, url, header).unwrap_err();
            assert!(error.message.contains(message), "{url} {header:?}: {error}");
            let given = error.hint.clone().unwrap_or_default();
            assert!(given.contains(hint.unwrap_or_default()), "{url} {header:?}: {given}");
            assert_eq!(hint.is_none(), error.hint.is_none(), "{url} {header:?}: {given}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let long = format!("http://h/{}", "x".repeat(LONGEST_URL_BYTES));
        assert!(build("GET", &long, none).unwrap_err().message.contains("at most 8192"));
        assert!(Request::new("GET", url, &BTreeMap::new(), None, Duration::ZERO).is_err());
    }

    #[test]
    fn what_can_be_sent_shows_no_secret() {
        let request =
            build("GET", "https://u:hunter2@[::1]:8443/a?t=hunter2", &[("X-Key", "hunter2")]).unwrap();
        assert_eq!(request.target(), "https://[::1]:8443/a");
        let shown = format!("{request:?}");
        assert!(shown.contains("x-key") && !shown.contains("hunter2"), "{shown}");
        build("GET", "http://under_score.example:1/", &[("host", "shop.example")]).unwrap();
    }
}
