use super::address::{check_address, check_headers};
use super::{ConfigError, Headers, SecretRef, Span, address};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who counts the requests of a service. The gate reads the counters instead of probing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A Prometheus server.
    Prometheus(PrometheusSource),
    /// The `/metrics` pages of the instances themselves, without a server.
    Metrics(MetricsSource),
    /// The statistics of HAProxy.
    Haproxy(HaproxySource),
    /// Any JSON over HTTP.
    Json(JsonSource),
    /// A program of yours that prints JSON lines.
    Command(CommandSource),
    /// A file to which somebody appends such lines.
    File(FileSource),
}

/// Counters in a Prometheus server. A selector is a metric's name with matchers, as
/// `http_requests_total{version="{version}"}`: no function and no aggregation, so that a counter that
/// starts anew is seen. `{version}` stands for the version that is deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSource {
    /// Address of the server, without `/api/v1`.
    pub url: String,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// How often the server scrapes: what happens within that time cannot be told apart.
    #[serde(default = "default_scrape_interval")]
    pub scrape_interval: Span,
    /// The new version.
    pub canary: Selectors,
    /// The version that serves now. Absent: there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Selectors>,
}

fn default_scrape_interval() -> Span {
    Span::from_secs(15)
}

/// The counters of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selectors {
    /// Counter of all requests.
    pub requests: String,
    /// Counter of those that failed; of a rule's `events`, counter of the events.
    #[serde(alias = "events")]
    pub errors: String,
    /// Histogram of how long requests took: the metric whose name ends in `_bucket`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<String>,
}

/// Counters that the instances show themselves, in Prometheus' text format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsSource {
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Counter of all requests.
    pub requests: String,
    /// Counter of those that failed; of a rule's `events`, counter of the events.
    #[serde(alias = "events")]
    pub errors: String,
    /// Histogram of how long requests took: the metric whose name ends in `_bucket`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<String>,
    /// Address of each instance of the new version.
    pub canary: Vec<String>,
    /// Address of each instance of the version that serves now. Empty: there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<String>,
}

/// The statistics of HAProxy, as CSV. They hold no histogram, so latencies are not judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxySource {
    /// Address of the statistics page, with `;csv` at its end. Either this or `socket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Path of the statistics socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// What serves the new version: `backend`, or `backend/server`.
    pub canary: Vec<String>,
    /// What serves the version that serves now. Empty: there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<String>,
}

/// Counts in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonSource {
    /// The new version.
    pub canary: JsonCounts,
    /// The version that serves now. Absent: there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<JsonCounts>,
}

/// Where the counts of one version are. Paths are JSON paths (RFC 9535).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonCounts {
    /// Address. `{from}` and `{to}` stand for the last ten minutes, in seconds since 1970; `{version}` for
    /// the version that is deployed.
    pub url: String,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Path of the number of requests. Several numbers are added up.
    pub requests: String,
    /// Path of the number of those that failed; of a rule's `events`, of the number of events.
    #[serde(alias = "events")]
    pub errors: String,
    /// Path of the times that belong to these numbers, in seconds or milliseconds since 1970. With it, each
    /// number counts what came since the one before; without it, numbers are totals that only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
}

/// A program of yours. It prints one JSON object per line:
/// `{"arm": "canary", "requests": 1200, "errors": 3}`, totals that only grow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandSource {
    /// Program and arguments. No shell is involved. Once it ends, it is started again.
    pub command: Vec<String>,
    /// False if it says nothing about the version that serves now.
    #[serde(default = "default_true")]
    pub baseline: bool,
}

/// A file with the lines that a `command` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Its path, relative to `deploy.toml`.
    pub path: String,
    /// False if it says nothing about the version that serves now.
    #[serde(default = "default_true")]
    pub baseline: bool,
}

fn default_true() -> bool {
    true
}

impl Source {
    /// True if there is something to compare with.
    pub fn has_baseline(&self) -> bool {
        match self {
            Self::Prometheus(source) => source.baseline.is_some(),
            Self::Metrics(source) => !source.baseline.is_empty(),
            Self::Haproxy(source) => !source.baseline.is_empty(),
            Self::Json(source) => source.baseline.is_some(),
            Self::Command(source) => source.baseline,
            Self::File(source) => source.baseline,
        }
    }

    /// The headers that it sends.
    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        let headers: Vec<&Headers> = match self {
            Self::Prometheus(source) => vec![&source.headers],
            Self::Metrics(source) => vec![&source.headers],
            Self::Haproxy(source) => vec![&source.headers],
            Self::Json(source) => {
                std::iter::once(&source.canary).chain(&source.baseline).map(|arm| &arm.headers).collect()
            }
            Self::Command(_) | Self::File(_) => Vec::new(),
        };
        headers.into_iter().flat_map(address::secrets_of).collect()
    }

    pub(super) fn check(&self, path: &str) -> Result<(), ConfigError> {
        match self {
            Self::Prometheus(source) => {
                let path = format!("{path}.prometheus");
                check_address(&format!("{path}.url"), &source.url)?;
                check_headers(&path, &source.headers)?;
                if source.scrape_interval.as_ms() == 0 {
                    return Err(ConfigError::rule(
                        format!("{path}.scrape_interval"),
                        "0s: nobody scrapes so often",
                    ));
                }
                Ok(())
            }
            Self::Metrics(source) => {
                let path = format!("{path}.metrics");
                check_headers(&path, &source.headers)?;
                some(&format!("{path}.canary"), &source.canary, "one address per instance")?;
                source.canary.iter().chain(&source.baseline).try_for_each(|url| check_address(&path, url))
            }
            Self::Haproxy(source) => {
                let path = format!("{path}.haproxy");
                check_headers(&path, &source.headers)?;
                some(&format!("{path}.canary"), &source.canary, "\"backend/server\" or \"backend\"")?;
                match (&source.url, &source.socket) {
                    (Some(url), None) => check_address(&format!("{path}.url"), url),
                    (None, Some(_)) => Ok(()),
                    _ => Err(ConfigError::rule(path, "give either url or socket")),
                }
            }
            Self::Json(source) => {
                for (arm, counts) in
                    [("canary", Some(&source.canary)), ("baseline", source.baseline.as_ref())]
                {
                    let Some(counts) = counts else { continue };
                    let path = format!("{path}.json.{arm}");
                    check_address(&format!("{path}.url"), &counts.url)?;
                    check_headers(&path, &counts.headers)?;
                }
                Ok(())
            }
            Self::Command(source) => {
                some(&format!("{path}.command.command"), &source.command, "program and arguments")
            }
            Self::File(_) => Ok(()),
        }
    }
}

fn some(path: &str, list: &[String], what: &str) -> Result<(), ConfigError> {
    if list.iter().any(|text| !text.is_empty()) {
        return Ok(());
    }
    Err(ConfigError::rule(path, format!("it is empty: give {what}")))
}
