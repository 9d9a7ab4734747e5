//! The `/metrics` pages of the instances themselves.

use super::counters::{Reading, Role};
use super::exposition::{self, Sample};
use super::fetch::Fetcher;
use super::line::{checked, limit_of};
use super::{Look, Reader, Select};
use crate::tick::Arm;
use kit_contract::config::MetricsSource;
use kit_core::StepError;
use kit_probe::Request;

/// Reads the pages of all instances.
pub(crate) struct Metrics {
    fetcher: Fetcher,
    select: Select,
    pages: Vec<(Arm, String, Request)>,
}

impl Reader for Metrics {
    async fn look(&mut self) -> Vec<Look> {
        let (fetcher, select) = (&self.fetcher, &self.select);
        let reading = self.pages.iter().map(|(arm, url, request)| async move {
            let page = fetcher.get(request, false).await;
            let readings = page.and_then(|page| {
                exposition::parse(&page)
                    .and_then(|samples| readings(select, url, &samples))
                    .map_err(|what| format!("{}: {what}", request.target()))
            });
            Look::from(*arm, readings)
        });
        Look::joined(futures_util::future::join_all(reading).await)
    }
}

impl Metrics {
    pub(crate) fn new(
        source: &MetricsSource,
        select: Select,
        with_baseline: bool,
        fetcher: Fetcher,
    ) -> Result<Self, StepError> {
        let headers = fetcher.headers(&source.headers)?;
        let baseline = source.baseline.iter().filter(|_| with_baseline).map(|url| (Arm::Baseline, url));
        let urls = source.canary.iter().map(|url| (Arm::Canary, url)).chain(baseline);
        let pages = urls
            .map(|(arm, url)| Ok((arm, url.clone(), fetcher.request(url, &headers)?)))
            .collect::<Result<_, StepError>>()?;
        Ok(Self { fetcher, select, pages })
    }
}

/// The counters of one page.
fn readings(select: &Select, instance: &str, samples: &[Sample]) -> Result<Vec<Reading>, String> {
    let mut readings = Vec::new();
    let mut take = |role: &dyn Fn(&Sample) -> Option<Role>, selector: &super::Selector| {
        let mut found = false;
        for sample in samples.iter().filter(|sample| selector.admits(&sample.name, &sample.labels)) {
            found = true;
            let role = role(sample).ok_or("a bucket has no limit: is the selector one of a histogram?")?;
            let series = format!("{instance} {}", super::series(&sample.labels));
            readings.push(Reading {
                role,
                whose: instance.to_owned(),
                series,
                at_ms: None,
                value: sample.value,
            });
        }
        Ok::<_, String>(found)
    };
    if !take(&|_| Some(Role::Requests), &select.requests)? {
        return Err(format!("no metric is {}", select.requests.text()));
    }
    let name = select.errors.name();
    // No failure yet is as good as no line; a name that is not there is not.
    if !take(&|_| Some(Role::Errors), &select.errors)? && !samples.iter().any(|sample| sample.name == name) {
        return Err(format!("there is no metric {name}, so errors would always be 0"));
    }
    if let Some(latency) = &select.latency
        && !take(&|sample| limit_of(sample.labels.get("le")?), latency)?
    {
        return Err(format!("no metric is {}", latency.text()));
    }
    checked(readings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(requests: &str, errors: &str, latency: Option<&str>) -> Select {
        let parse = |text: &str| super::super::Selector::parse(text).unwrap();
        Select { requests: parse(requests), errors: parse(errors), latency: latency.map(parse) }
    }

    #[test]
    fn a_name_that_is_not_there_is_no_zero() {
        let page = "r_total{code=\"200\"} 9\nr_total{code=\"500\"} 1\nt_bucket{le=\"0.1\"} 8\nt_bucket{le=\"+Inf\"} 10\nnan NaN\n";
        let samples = exposition::parse(page).unwrap();
        let read = |requests, errors, latency| readings(&select(requests, errors, latency), "a", &samples);
        assert_eq!(read("r_total", "r_total{code=~\"5..\"}", Some("t_bucket")).unwrap().len(), 5);
        assert_eq!(
            read("r_total", "r_total{code=\"503\"}", None).unwrap().len(),
            2,
            "no failure of that kind yet"
        );
        for (requests, errors, latency, what) in [
            ("r", "r_total", None, "no metric is r"),
            ("r_total{code=\"201\"}", "r_total", None, "no metric is r_total{"),
            ("r_total", "errors_total", None, "there is no metric errors_total, so errors would always be 0"),
            ("r_total", "r_total", Some("t"), "no metric is t"),
            ("r_total", "r_total", Some("r_total"), "a bucket has no limit"),
            ("nan", "r_total", None, "a counter is NaN"),
        ] {
            let error = read(requests, errors, latency).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
