//! A Prometheus server: the raw samples of counters, with the times at which they were scraped.
//!
//! `increase()` and `rate()` guess what lies at the edges of their window, and give fractions. Raw samples
//! are asked for instead, and what came between two of them is worked out here.

use super::counters::Reading;
use super::fetch::Fetcher;
use super::line::{checked, limit_of};
use super::selector::Selector;
use super::{Look, MS, Reader, Select};
use crate::tick::Arm;
use kit_contract::config::PrometheusSource;
use kit_core::{Clock, StepError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The first look reaches back so many scrapes: a counter that is just not there must be known.
const FIRST_SCRAPES: u64 = 40;
/// Later ones.
const SCRAPES: u64 = 8;
/// Looks per scrape.
const LOOKS: u64 = 3;

/// Reads one server.
pub(crate) struct Prometheus {
    fetcher: Fetcher,
    clock: Clock,
    began: Duration,
    server: String,
    headers: BTreeMap<String, String>,
    scrape_s: u64,
    arms: Vec<(Arm, Select)>,
    /// The server's time at the start of the stage, in ms since 1970; `None`: not known yet.
    start_ms: Option<i64>,
    is_first: bool,
}

#[derive(Deserialize)]
struct Page {
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Data {
    Matrix(Vec<Row>),
    Vector(Vec<Instant>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct Instant {
    value: (f64, String),
}

#[derive(Deserialize)]
struct Row {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Reader for Prometheus {
    async fn look(&mut self) -> Vec<Look> {
        let start_ms = match self.start_ms {
            Some(start_ms) => start_ms,
            None => match self.ask("time()").await {
                Ok(Data::Scalar((seconds, _))) => {
                    let since_ms = self.clock.elapsed().saturating_sub(self.began).as_millis();
                    let start_ms = to_ms(seconds) - i64::try_from(since_ms).unwrap_or_default();
                    *self.start_ms.insert(start_ms)
                }
                Ok(_) => return self.failed("it does not say what time it is"),
                Err(what) => return self.failed(&what),
            },
        };
        let mut looks = Vec::new();
        for (arm, select) in &self.arms {
            looks.push(Look::from(*arm, self.arm(select, start_ms).await));
        }
        self.is_first &= looks.iter().any(|look| look.trouble.is_some());
        looks
    }
}

impl Prometheus {
    pub(crate) fn new(
        source: &PrometheusSource,
        arms: Vec<(Arm, Select)>,
        fetcher: Fetcher,
        clock: Clock,
        began: Duration,
    ) -> Result<Self, StepError> {
        let this = Self {
            headers: fetcher.headers(&source.headers)?,
            fetcher,
            clock,
            began,
            server: source.url.clone(),
            scrape_s: source.scrape_interval.as_ms().div_ceil(MS),
            arms,
            start_ms: None,
            is_first: true,
        };
        // What cannot be asked is found before the stage begins.
        this.fetcher.request(&this.url("time()"), &this.headers)?;
        Ok(this)
    }

    /// Time between two looks.
    pub(crate) fn every(&self) -> Duration {
        Duration::from_millis((self.scrape_s * MS / LOOKS).max(1))
    }

    fn url(&self, query: &str) -> String {
        query_url(&self.server, query)
    }

    async fn ask(&self, query: &str) -> Result<Data, String> {
        let request = self.fetcher.request(&self.url(query), &self.headers).map_err(|error| error.message)?;
        let page = self.fetcher.get(&request, true).await?;
        data(&page).map_err(|what| format!("{}: {what}", request.target()))
    }

    fn failed(&self, what: &str) -> Vec<Look> {
        self.arms.iter().map(|(arm, _)| Look::failed(*arm, what.to_owned())).collect()
    }

    async fn arm(&self, select: &Select, start_ms: i64) -> Result<Vec<Reading>, String> {
        let requests = self.rows(&select.requests).await?;
        if requests.is_empty() {
            return Err(format!("no series is {}", select.requests.text()));
        }
        let errors = self.rows(&select.errors).await?;
        let name = select.errors.name();
        // No failure yet is as good as no series; a name that nobody knows is not.
        if errors.is_empty() && name != select.requests.name() {
            let known = self.ask(&format!("count({name})")).await?;
            if !matches!(known, Data::Vector(rows) if !rows.is_empty()) {
                return Err(format!("there is no metric {name}, so errors would always be 0"));
            }
        }
        let mut readings = readings(&requests, start_ms, |_| Some(super::Role::Requests))?;
        readings.extend(self::readings(&errors, start_ms, |_| Some(super::Role::Errors))?);
        if let Some(latency) = &select.latency {
            let rows = self.rows(latency).await?;
            if rows.is_empty() {
                return Err(format!("no series is {}", latency.text()));
            }
            readings.extend(self::readings(&rows, start_ms, |labels| limit_of(labels.get("le")?))?);
        }
        checked(readings)
    }

    async fn rows(&self, selector: &Selector) -> Result<Vec<Row>, String> {
        let scrapes = if self.is_first { FIRST_SCRAPES } else { SCRAPES };
        match self.ask(&format!("{}[{}s]", selector.text(), self.scrape_s * scrapes)).await? {
            Data::Matrix(rows) => Ok(rows),
            _ => Err("the answer is not the kind that was asked for".to_owned()),
        }
    }
}

/// The address of a query.
pub(super) fn query_url(server: &str, query: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    format!("{}/api/v1/query?query={encoded}", server.trim_end_matches('/'))
}

/// The values that a query gives at a moment.
pub(super) fn values(page: &str) -> Result<Vec<f64>, String> {
    let texts = match data(page)? {
        Data::Vector(rows) => rows.into_iter().map(|row| row.value.1).collect(),
        Data::Scalar((_, text)) => vec![text],
        Data::Matrix(_) => return Err("the query gives ranges: give one that yields numbers".to_owned()),
    };
    let number = |text: &String| text.parse().map_err(|_| "a value is no number".to_owned());
    texts.iter().map(number).collect()
}

fn data(page: &str) -> Result<Data, String> {
    let page: Page =
        serde_json::from_str(page).map_err(|_| "the answer is not one of Prometheus".to_owned())?;
    match (page.error, page.data) {
        (None, Some(data)) => Ok(data),
        (error, _) => Err(error.unwrap_or_else(|| "the answer is empty".to_owned())),
    }
}

fn readings(
    rows: &[Row],
    start_ms: i64,
    role: impl Fn(&BTreeMap<String, String>) -> Option<super::Role>,
) -> Result<Vec<Reading>, String> {
    let mut readings = Vec::new();
    for row in rows {
        let role = role(&row.metric).ok_or("a bucket has no limit: is the selector one of a histogram?")?;
        let series = super::series(&row.metric);
        for (seconds, value) in &row.values {
            let value = value.parse().map_err(|_| "a sample is no number".to_owned())?;
            let at_ms = Some(to_ms(*seconds) - start_ms);
            readings.push(Reading { role, whose: String::new(), series: series.clone(), at_ms, value });
        }
    }
    Ok(readings)
}

fn to_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    #[test]
    fn samples_keep_their_times_and_series_their_labels() {
        let page = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"r","instance":"a","le":"0.5"},"values":[[1000.5,"3"],[1015.5,"7"]]}]}}"#;
        let Ok(Data::Matrix(rows)) = data(page) else { unreachable!() };
        let readings = readings(&rows, 1_010_000, |labels| limit_of(labels.get("le")?)).unwrap();
        let expected = |at_ms, value| Reading {
            role: Role::UpTo(500_000),
            whose: String::new(),
            series: "__name__=r,instance=a,le=0.5".to_owned(),
            at_ms: Some(at_ms),
            value,
        };
        assert_eq!(readings, [expected(-9500, 3.0), expected(5500, 7.0)]);
    }

    #[test]
    fn what_went_wrong_is_told() {
        for (page, what) in [
            (r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, "parse error"),
            (r#"{"status":"success"}"#, "the answer is empty"),
            ("<html>", "the answer is not one of Prometheus"),
        ] {
            assert_eq!(data(page).err().as_deref(), Some(what));
        }
    }
}
