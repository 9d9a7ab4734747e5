//! One row, once: how long, how large, how much memory.

use super::rows::Row;
use crate::error::Error;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// One run of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Of what it wrote.
    bytes: u64,
    /// The most memory that the program itself had resident.
    peak_kib: u64,
}

impl Sample {
    /// Of a part, which writes nothing of its own.
    pub(super) fn of_part(seconds: f64) -> Self {
        Self { seconds, ..Self::default() }
    }
}

/// Medians of several runs, and the spread of their time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    /// To what it is compared with: the median of the rounds' own ratios, so that a round in which the machine was
    /// slow counts like any other.
    pub(super) ratio: f64,
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

/// What a row that comes several times in a round counts with: the mean of its times, and the largest of the rest.
pub(super) fn mean(samples: &[Sample]) -> Option<Sample> {
    Some(Sample {
        seconds: samples.iter().map(|sample| sample.seconds).sum::<f64>() / samples.len() as f64,
        bytes: samples.iter().map(|sample| sample.bytes).max()?,
        peak_kib: samples.iter().map(|sample| sample.peak_kib).max()?,
    })
}

/// Medians of all rounds, of which `base` holds what it is compared with.
pub(super) fn medians(samples: &[Sample], base: &[Sample]) -> Option<Measured> {
    let seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    let ratios = samples.iter().zip(base).map(|(sample, base)| sample.seconds / base.seconds).collect();
    let mut bytes: Vec<u64> = samples.iter().map(|sample| sample.bytes).collect();
    bytes.sort_unstable();
    Some(Measured {
        ratio: median(ratios)?,
        fastest: seconds.iter().copied().min_by(f64::total_cmp)?,
        slowest: seconds.iter().copied().max_by(f64::total_cmp)?,
        seconds: median(seconds)?,
        bytes: *bytes.get((bytes.len() - 1) / 2)?,
        peak_kib: samples.iter().map(|sample| sample.peak_kib).max()?,
    })
}

/// That of an odd number is one of them; of an even one, the lower of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_peaks() {
        let sample = |seconds, bytes, peak_kib| Sample { seconds, bytes, peak_kib };
        let samples = [sample(3.0, 30, 1), sample(1.0, 10, 9), sample(2.0, 20, 2)];
        let base = [sample(2.0, 0, 0), sample(1.0, 0, 0), sample(0.5, 0, 0)];
        let expected =
            Measured { seconds: 2.0, ratio: 1.5, fastest: 1.0, slowest: 3.0, bytes: 20, peak_kib: 9 };
        assert_eq!(medians(&samples, &base), Some(expected));
        assert_eq!(medians(&samples, &samples).map(|measured| measured.ratio), Some(1.0));
        assert_eq!(medians(&[], &[]), None);
        assert_eq!(mean(&samples), Some(sample(2.0, 30, 9)));
        assert_eq!(mean(&[]), None);
    }
}
