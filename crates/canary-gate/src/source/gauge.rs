//! Gauges of rules: one number now and then, or why there is none.

use super::fetch::Fetcher;
use super::json::numbers;
use super::{Surroundings, prometheus};
use kit_contract::config::GaugeSource;
use kit_contract::{Name, Reason};
use kit_core::{Context, StepError};
use kit_exec::{Command, Stdout};
use kit_probe::Request;
use serde_json_path::JsonPath;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// No gauge is read more often.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// Most that a program may print: it is one number.
const LIMIT_BYTES: u64 = 4096;

/// What a look at a gauge gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GaugeLook {
    pub(crate) rule: Name,
    /// The number, or, for people, why there is none.
    pub(crate) read: Result<f64, String>,
}

/// A gauge that is to be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) rule: Name,
    pub(crate) source: GaugeSource,
    /// Of several numbers the highest is the worst; else the lowest.
    pub(crate) above: bool,
}

/// All gauges of a stage. They are read for as long as this lives.
pub(crate) struct Gauges {
    from: mpsc::UnboundedReceiver<GaugeLook>,
    _reading: JoinSet<()>,
}

/// How often a gauge is read, if the stage is looked at that often.
pub(crate) fn every(interval: Duration) -> Duration {
    interval.max(LEAST_INTERVAL)
}

impl Gauges {
    /// Begins to read.
    ///
    /// # Errors
    /// If a gauge cannot be asked as it is configured.
    pub(crate) fn start(asked: &[Asked], around: &Surroundings) -> Result<Self, StepError> {
        let (to, from) = mpsc::unbounded_channel();
        let mut reading = JoinSet::new();
        for one in asked {
            let reader = Reader::new(&one.source, around).map_err(|mut error| {
                error.message = format!("gauge of rule {}: {}", one.rule, error.message);
                error
            })?;
            let (one, to, clock) = (one.clone(), to.clone(), around.cx.clock);
            let every = every(around.interval);
            reading.spawn(async move {
                loop {
                    let started = clock.elapsed();
                    let read = reader.read().await.and_then(|numbers| worst(&numbers, one.above));
                    if to.send(GaugeLook { rule: one.rule.clone(), read }).is_err() {
                        return;
                    }
                    clock.sleep_until(started + every).await;
                }
            });
        }
        Ok(Self { from, _reading: reading })
    }

    /// What came in since the last time.
    pub(crate) fn take(&mut self) -> Vec<GaugeLook> {
        std::iter::from_fn(|| self.from.try_recv().ok()).collect()
    }
}

/// Nothing, and what is no number, is unknown.
fn worst(numbers: &[f64], above: bool) -> Result<f64, String> {
    if let Some(odd) = numbers.iter().find(|number| !number.is_finite()) {
        return Err(format!("it is {odd}, which is no value"));
    }
    let worse = if above { f64::max } else { f64::min };
    numbers.iter().copied().reduce(worse).ok_or_else(|| "there is no value".to_owned())
}

enum Reader {
    Prometheus(Fetcher, Request),
    Json(Fetcher, Request, Box<JsonPath>),
    Command { cx: Context, argv: Vec<String>, folder: PathBuf, timeout: Duration },
}

impl Reader {
    fn new(source: &GaugeSource, around: &Surroundings) -> Result<Self, StepError> {
        let fetcher = || Fetcher::new(&around.cx, around.timeout);
        Ok(match source {
            GaugeSource::Prometheus(source) => {
                let fetcher = fetcher()?;
                let headers = fetcher.headers(&source.headers)?;
                let url = prometheus::query_url(&source.url, &around.fill(&source.query)?);
                let request = fetcher.request(&url, &headers)?;
                Self::Prometheus(fetcher, request)
            }
            GaugeSource::Json(source) => {
                let fetcher = fetcher()?;
                let headers = fetcher.headers(&source.headers)?;
                let request = fetcher.request(&around.fill(&source.url)?, &headers)?;
                let path = JsonPath::parse(&source.path).map_err(|error| {
                    let message = format!("{:?} is no JSON path: {error}", source.path);
                    StepError::new(Reason::ConfigInvalid, message).hint("an example: \"$.pool.in_use\"")
                })?;
                Self::Json(fetcher, request, Box::new(path))
            }
            GaugeSource::Command(source) => Self::Command {
                cx: around.cx.clone(),
                argv: source.command.iter().map(|word| around.fill(word)).collect::<Result<_, _>>()?,
                folder: around.folder.clone(),
                timeout: around.timeout,
            },
        })
    }

    async fn read(&self) -> Result<Vec<f64>, String> {
        match self {
            Self::Prometheus(fetcher, request) => {
                let page = fetcher.get(request, true).await?;
                prometheus::values(&page).map_err(|what| format!("{}: {what}", request.target()))
            }
            Self::Json(fetcher, request, path) => {
                let page = fetcher.get(request, false).await?;
                serde_json::from_str(&page)
                    .map_err(|_| "the answer is no JSON".to_owned())
                    .and_then(|page| numbers(path, &page))
                    .map_err(|what| format!("{}: {what}", request.target()))
            }
            Self::Command { cx, argv, folder, timeout } => {
                let [program, args @ ..] = argv.as_slice() else {
                    return Err("there is no program".to_owned());
                };
                let command = Command::new(program).args(args).current_folder(folder).deadline(*timeout);
                let command = command.stdout(Stdout::Capture { limit_bytes: LIMIT_BYTES }).quiet_stderr();
                let output = command.run(cx).await.map_err(|error| super::command::told(&error))?;
                let text = output.text();
                let number = text.trim().parse().map_err(|_| {
                    let shown: String = text.chars().take(40).collect();
                    format!("{program} printed {shown:?}, which is no number")
                })?;
                Ok(vec![number])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_what_is_no_number_is_unknown() {
        assert_eq!(worst(&[3.0, 9.0, 5.0], true), Ok(9.0));
        assert_eq!(worst(&[3.0, 9.0, 5.0], false), Ok(3.0));
        assert_eq!(worst(&[], true), Err("there is no value".to_owned()));
        assert_eq!(worst(&[3.0, f64::NAN], true), Err("it is NaN, which is no value".to_owned()));
        assert!(worst(&[f64::INFINITY], false).is_err());
    }
}
