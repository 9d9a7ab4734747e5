//! The statistics of HAProxy, as CSV: over HTTP or from its socket.
//!
//! A server's row counts the answers that the server gave. What HAProxy answers in its place, because it
//! could not be reached or broke off, stands in `econ` and `eresp` of that row.

use super::counters::{Reading, Role};
use super::fetch::Fetcher;
use super::line::checked;
use super::{Look, Reader};
use crate::tick::Arm;
use kit_contract::config::HaproxySource;
use kit_core::{Clock, StepError};
use kit_probe::Request;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A page of statistics is a line per server.
const LIMIT_BYTES: u64 = 4 << 20;
const CLASSES: [&str; 6] = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"];

enum Where {
    Http(Fetcher, Box<Request>),
    Socket(String),
}

/// Reads one HAProxy.
pub(crate) struct Haproxy {
    at: Where,
    clock: Clock,
    timeout: Duration,
    arms: Vec<(Arm, Vec<String>)>,
}

impl Reader for Haproxy {
    async fn look(&mut self) -> Vec<Look> {
        let page = match &self.at {
            Where::Http(fetcher, request) => fetcher.get(request, false).await,
            Where::Socket(path) => match self.clock.timeout(self.timeout, ask(path)).await {
                Ok(Ok(page)) => Ok(page),
                Ok(Err(error)) => Err(format!("{path}: {error}")),
                Err(late) => Err(format!("{path}: {late}")),
            },
        };
        let look = |(arm, rows): &(Arm, Vec<String>)| {
            let read = page.clone().and_then(|page| rows.iter().map(|row| readings(&page, row)).collect());
            Look::from(*arm, read.map(|rows: Vec<Vec<Reading>>| rows.concat()))
        };
        self.arms.iter().map(look).collect()
    }
}

impl Haproxy {
    pub(crate) fn new(
        source: &HaproxySource,
        with_baseline: bool,
        fetcher: Fetcher,
        clock: Clock,
        timeout: Duration,
    ) -> Result<Self, StepError> {
        let at = match (&source.url, &source.socket) {
            (Some(url), _) => {
                let headers = fetcher.headers(&source.headers)?;
                let request = fetcher.request(url, &headers)?;
                Where::Http(fetcher, Box::new(request))
            }
            (None, path) => Where::Socket(path.clone().unwrap_or_default()),
        };
        let mut arms = vec![(Arm::Canary, source.canary.clone())];
        if with_baseline {
            arms.push((Arm::Baseline, source.baseline.clone()));
        }
        Ok(Self { at, clock, timeout, arms })
    }
}

async fn ask(path: &str) -> std::io::Result<String> {
    let mut socket = UnixStream::connect(path).await?;
    socket.write_all(b"show stat\n").await?;
    let mut page = String::new();
    socket.take(LIMIT_BYTES).read_to_string(&mut page).await?;
    Ok(page)
}

/// The counters of `backend` or `backend/server`.
fn readings(page: &str, row: &str) -> Result<Vec<Reading>, String> {
    let (backend, server) = row.split_once('/').unwrap_or((row, "BACKEND"));
    let mut lines = page.lines();
    let head = lines.next().and_then(|line| line.strip_prefix("# "));
    let head = fields(
        head.ok_or("the answer is not the statistics of HAProxy as CSV: does the address end in ;csv?")?,
    );
    let rows: Vec<Vec<String>> = lines.map(fields).collect();
    let found = rows.iter().find(|row| {
        row.first().map(String::as_str) == Some(backend) && row.get(1).map(String::as_str) == Some(server)
    });
    let Some(found) = found else { return Err(format!("there is no {row:?} in the statistics")) };
    let number = |name: &str| {
        let at = head.iter().position(|field| field == name)?;
        found.get(at)?.parse::<f64>().ok()
    };
    let missing = |name: &str| format!("{row:?} has no {name}: is its mode http?");
    let mut requests = 0.0;
    for class in CLASSES {
        requests += number(class).ok_or_else(|| missing(class))?;
    }
    let mut errors = number("hrsp_5xx").ok_or_else(|| missing("hrsp_5xx"))?;
    if server != "BACKEND" {
        for name in ["econ", "eresp"] {
            let failed = number(name).ok_or_else(|| missing(name))?;
            requests += failed;
            errors += failed;
        }
    }
    let reading =
        |role, value| Reading { role, whose: String::new(), series: row.to_owned(), at_ms: None, value };
    checked(vec![reading(Role::Requests, requests), reading(Role::Errors, errors)])
}

/// The fields of a line. Some texts stand in quotes and hold commas.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# pxname,svname,econ,eresp,last_chk,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,\n\
                        shop,FRONTEND,,,,0,9,0,0,0,0,\n\
                        shop,new,2,1,\"a, \"\"b\",0,90,3,4,3,0,\n\
                        shop,BACKEND,2,1,,0,90,3,4,6,0,\n\
                        tcp,raw,0,0,,,,,,,,\n";

    #[test]
    fn a_server_counts_what_haproxy_answered_in_its_place_and_a_backend_has_that_already() {
        for (row, requests, errors) in [("shop/new", 103.0, 6.0), ("shop", 103.0, 6.0)] {
            let values: Vec<f64> = readings(PAGE, row).unwrap().iter().map(|one| one.value).collect();
            assert_eq!(values, [requests, errors], "{row}");
        }
        for (page, row, what) in [
            (PAGE, "shop/old", "there is no \"shop/old\""),
            (PAGE, "tcp/raw", "has no hrsp_1xx: is its mode http?"),
            ("<html>", "shop", "is not the statistics of HAProxy"),
            ("", "shop", "is not the statistics of HAProxy"),
        ] {
            let error = readings(page, row).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
