//! Any JSON over HTTP, by JSON path.

use super::counters::{Reading, Role};
use super::fetch::Fetcher;
use super::line::checked;
use super::{Look, Reader};
use crate::tick::Arm;
use kit_contract::Reason;
use kit_contract::config::JsonCounts;
use kit_core::{Clock, StepError};
use serde_json::Value;
use serde_json_path::JsonPath;
use std::collections::BTreeMap;
use std::time::Duration;

/// `{from}` lies so far back.
const BACK_S: i64 = 600;
/// Larger than any number of seconds, smaller than any of milliseconds, since 1970.
const FIRST_MS: f64 = 1e11;

/// Where one arm's counts are.
struct Place {
    arm: Arm,
    url: String,
    headers: BTreeMap<String, String>,
    paths: Paths,
    periods: Periods,
}

struct Paths {
    requests: JsonPath,
    errors: JsonPath,
    times: Option<JsonPath>,
}

/// Counts of periods, added up.
#[derive(Clone, Copy, Default)]
struct Periods {
    /// End of the last period that was added.
    until: Option<f64>,
    requests: f64,
    errors: f64,
}

/// Reads both arms.
pub(crate) struct Json {
    fetcher: Fetcher,
    clock: Clock,
    began: Duration,
    places: Vec<Place>,
}

impl Reader for Json {
    async fn look(&mut self) -> Vec<Look> {
        let now = self.clock.now();
        let since_ms = self.clock.elapsed().saturating_sub(self.began).as_millis();
        let start_ms = now.as_millisecond() - i64::try_from(since_ms).unwrap_or_default();
        let fetcher = &self.fetcher;
        let reading = self.places.iter_mut().map(|place| async move {
            let readings = place.read(fetcher, now.as_second(), start_ms).await;
            Look::from(place.arm, readings)
        });
        futures_util::future::join_all(reading).await
    }
}

impl Json {
    pub(crate) fn new(
        arms: Vec<(Arm, JsonCounts)>,
        fetcher: Fetcher,
        clock: Clock,
        began: Duration,
    ) -> Result<Self, StepError> {
        let path = |text: &str| {
            JsonPath::parse(text).map_err(|error| {
                let message = format!("{text:?} is no JSON path: {error}");
                StepError::new(Reason::ConfigInvalid, message).hint("an example: \"$.data.requests\"")
            })
        };
        let place = |(arm, counts): (Arm, JsonCounts)| {
            let headers = fetcher.headers(&counts.headers)?;
            fetcher.request(&fill(&counts.url, 0), &headers)?;
            let times = counts.times.as_deref().map(path).transpose()?;
            let paths = Paths { requests: path(&counts.requests)?, errors: path(&counts.errors)?, times };
            Ok(Place { arm, url: counts.url, headers, paths, periods: Periods::default() })
        };
        let places = arms.into_iter().map(place).collect::<Result<_, StepError>>()?;
        Ok(Self { fetcher, clock, began, places })
    }
}

fn fill(url: &str, now_s: i64) -> String {
    url.replace("{from}", &(now_s - BACK_S).to_string()).replace("{to}", &now_s.to_string())
}

impl Place {
    async fn read(&mut self, fetcher: &Fetcher, now_s: i64, start_ms: i64) -> Result<Vec<Reading>, String> {
        let request =
            fetcher.request(&fill(&self.url, now_s), &self.headers).map_err(|error| error.message)?;
        let page = fetcher.get(&request, false).await?;
        let page: Value = serde_json::from_str(&page)
            .map_err(|_| format!("{}: the answer is no JSON", request.target()))?;
        readings(&self.paths, &mut self.periods, &page, start_ms)
            .and_then(checked)
            .map_err(|what| format!("{}: {what}", request.target()))
    }
}

fn readings(
    paths: &Paths,
    periods: &mut Periods,
    page: &Value,
    start_ms: i64,
) -> Result<Vec<Reading>, String> {
    let reading =
        |role, at_ms, value| Reading { role, whose: String::new(), series: String::new(), at_ms, value };
    let (requests, errors) = (numbers(&paths.requests, page)?, numbers(&paths.errors, page)?);
    let Some(times) = &paths.times else {
        let sum = |numbers: &[f64]| numbers.iter().sum();
        return Ok(vec![
            reading(Role::Requests, None, sum(&requests)),
            reading(Role::Errors, None, sum(&errors)),
        ]);
    };
    let times = numbers(times, page)?;
    if (requests.len(), errors.len()) != (times.len(), times.len()) {
        return Err(format!(
            "{} times, {} numbers of requests and {} of errors do not belong together: fill what is missing with 0",
            times.len(),
            requests.len(),
            errors.len()
        ));
    }
    let mut rows: Vec<(f64, f64, f64)> =
        times.into_iter().zip(requests).zip(errors).map(|((at, n), failed)| (at, n, failed)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at_ms = |time: f64| Some((if time < FIRST_MS { time * 1000.0 } else { time }) as i64 - start_ms);
    let mut found = Vec::new();
    let mut add = |periods: &Periods, end: f64| {
        found.push(reading(Role::Requests, at_ms(end), periods.requests));
        found.push(reading(Role::Errors, at_ms(end), periods.errors));
    };
    if let (None, Some(first)) = (periods.until, rows.first()) {
        periods.until = Some(first.0);
        add(periods, first.0);
    }
    // The last period is not over yet: what it shows may still grow.
    for pair in rows.windows(2) {
        let [(from, n, failed), (end, ..)] = pair else { continue };
        if periods.until.is_some_and(|until| *from >= until) {
            periods.requests += n;
            periods.errors += failed;
            periods.until = Some(*end);
            add(periods, *end);
        }
    }
    Ok(found)
}

/// The numbers at a path; also those that are written as text. Nothing there is an error, not 0.
pub(super) fn numbers(path: &JsonPath, page: &Value) -> Result<Vec<f64>, String> {
    let nodes = path.query(page).all();
    if nodes.is_empty() {
        return Err(format!("there is nothing at {path}"));
    }
    let number = |node: &&Value| match node {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    nodes.iter().map(number).collect::<Option<_>>().ok_or_else(|| format!("what is at {path} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(times: Option<&str>) -> Paths {
        let parse = |text: &str| JsonPath::parse(text).unwrap();
        Paths { requests: parse("$.n[*]"), errors: parse("$.e[*]"), times: times.map(parse) }
    }

    #[test]
    fn totals_are_added_up_and_nothing_is_not_zero() {
        let read = |page: Value| readings(&paths(None), &mut Periods::default(), &page, 0);
        let values: Vec<f64> =
            read(json!({"n": [3, "4"], "e": [1]})).unwrap().iter().map(|one| one.value).collect();
        assert_eq!(values, [7.0, 1.0]);
        for (page, what) in [
            (json!({"n": [3]}), "there is nothing at $.e[*]"),
            (json!({"n": [3], "e": []}), "there is nothing at"),
            (json!({"n": [3], "e": [null]}), "is no number"),
            (json!({"n": [3], "e": ["many"]}), "is no number"),
        ] {
            let error = read(page).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_period_counts_once_and_only_when_it_is_over() {
        let paths = paths(Some("$.t[*]"));
        let mut periods = Periods::default();
        let mut read = |page: Value| {
            let readings = readings(&paths, &mut periods, &page, 100_000)?;
            let requests = readings.iter().filter(|one| one.role == Role::Requests);
            Ok::<_, String>(requests.map(|one| (one.at_ms.unwrap(), one.value)).collect::<Vec<_>>())
        };
        let page = json!({"t": [100, 110, 120], "n": [5, 6, 1], "e": [0, 0, 0]});
        assert_eq!(read(page).unwrap(), [(0, 0.0), (10_000, 5.0), (20_000, 11.0)]);
        let page = json!({"t": [110, 120, 130], "n": [6, 7, 2], "e": [0, 0, 0]});
        assert_eq!(read(page).unwrap(), [(30_000, 18.0)]);
        let error = read(json!({"t": [1, 2], "n": [1, 2], "e": [0]})).unwrap_err();
        assert!(error.starts_with("2 times, 2 numbers of requests and 1 of errors"), "{error}");
    }
}
