//! One row, once: how long, how large, how much memory.

use super::rows::Row;
use crate::error::Error;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// One run of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    seconds: f64,
    /// Of what it wrote.
    bytes: u64,
    /// The most memory that the program itself had resident.
    peak_kib: u64,
}

/// Medians of several runs, and the spread of their time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) fastest: f64,
    pub(super) slowest: f64,
    pub(super) bytes: u64,
    pub(super) peak_kib: u64,
}

/// Between two looks at the memory of a program.
const LOOK: Duration = Duration::from_millis(20);

/// Prepares, runs, measures and tidies up.
pub(super) fn run(row: &Row<'_>) -> Result<Sample, Error> {
    (row.before)()?;
    let mut command = (row.command)();
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let mut child =
        command.spawn().map_err(|source| Error::Spawn { program: row.name.to_owned(), source })?;
    let mut peak_kib = 0;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {
                peak_kib = peak_kib.max(resident_kib(&child));
                std::thread::sleep(LOOK);
            }
            Err(source) => return Err(Error::Spawn { program: row.name.to_owned(), source }),
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err(Error::Failed { command: shown, status });
    }
    let bytes = row.written.as_ref().map_or(0, |size_bytes| size_bytes());
    (row.after)()?;
    Ok(Sample { seconds, bytes, peak_kib })
}

/// The high-water mark of a process (proc(5), VmHWM); 0 where nobody can say.
fn resident_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Bytes in a file, or in all files below a folder.
pub(super) fn size(path: &Path) -> u64 {
    let Ok(meta) = std::fs::metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| size(&entry.path())).sum()
}

/// One sample for people.
pub(super) fn line(row: &Row<'_>, sample: &Sample) -> String {
    format!(
        "{:>7.2} s  {:>5} MB  {:>4} MiB  {}",
        sample.seconds,
        sample.bytes / 1_000_000,
        sample.peak_kib / 1024,
        row.name
    )
}

/// The median of an odd number is one of them; of an even one, the lower of the two in the middle.
pub(super) fn medians(samples: &[Sample]) -> Option<Measured> {
    let mut seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut bytes: Vec<u64> = samples.iter().map(|sample| sample.bytes).collect();
    bytes.sort_unstable();
    let middle = samples.len().checked_sub(1)? / 2;
    Some(Measured {
        seconds: *seconds.get(middle)?,
        fastest: *seconds.first()?,
        slowest: *seconds.last()?,
        bytes: *bytes.get(middle)?,
        peak_kib: samples.iter().map(|sample| sample.peak_kib).max()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_peaks() {
        let sample = |seconds, bytes, peak_kib| Sample { seconds, bytes, peak_kib };
        let samples = [sample(3.0, 30, 1), sample(1.0, 10, 9), sample(2.0, 20, 2)];
        let expected = Measured { seconds: 2.0, fastest: 1.0, slowest: 3.0, bytes: 20, peak_kib: 9 };
        assert_eq!(medians(&samples), Some(expected));
        assert_eq!(medians(&[]), None);
    }
}
