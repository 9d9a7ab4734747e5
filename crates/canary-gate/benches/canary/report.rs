//! Rows as they come, and what of the targets is met.

use kit_sequential::{lower_bound, upper_bound};
use std::time::Instant;

/// Bounds hold with this probability, each.
const CONFIDENCE: f64 = 0.99;
/// What was promised, and what was measured.
struct Target {
    what: String,
    measured: String,
    met: bool,
}

/// Prints Markdown on standard output, and how far it is on standard error.
pub(crate) struct Report {
    divisor: u64,
    begun: Instant,
    suite: u64,
    targets: Vec<Target>,
}

impl Report {
    /// All numbers of runs are divided by `divisor`. Seeds begin with those of a suite.
    pub(crate) fn new(divisor: u64, suite: u64) -> Self {
        Self { divisor, begun: Instant::now(), suite, targets: Vec::new() }
    }

    pub(crate) fn runs(&self, whole: u64) -> u64 {
        (whole / self.divisor).max(20)
    }

    /// Seeds of a row of its own.
    pub(crate) fn seeds(&mut self) -> impl Fn(u64) -> u64 + Copy + use<> {
        self.suite += 1;
        let suite = self.suite;
        move |run| (suite << 40) ^ (run << 8) ^ 0xCA7A
    }

    pub(crate) fn table(&self, title: &str, columns: &[&str]) {
        println!("\n### {title}\n");
        println!("| {} |", columns.join(" | "));
        println!("|---|{}", "---:|".repeat(columns.len() - 1));
    }

    pub(crate) fn row(&self, cells: &[String]) {
        println!("| {} |", cells.join(" | "));
        let name = cells.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(", ");
        eprintln!("{:6.0} s  {name}", self.begun.elapsed().as_secs_f64());
    }

    pub(crate) fn target(&mut self, what: impl Into<String>, measured: impl Into<String>, met: bool) {
        self.targets.push(Target { what: what.into(), measured: measured.into(), met });
    }

    /// What of the targets is met.
    pub(crate) fn targets(&self) {
        if self.targets.is_empty() {
            return;
        }
        self.table("Targets", &["target", "measured", "met"]);
        for Target { what, measured, met } in &self.targets {
            println!("| {what} | {measured} | {} |", if *met { "yes" } else { "**no**" });
        }
    }
}

/// Hits among runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    pub(crate) hits: u64,
    pub(crate) runs: u64,
}

impl Share {
    pub(crate) fn add(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.runs += 1;
    }

    pub(crate) fn rate(self) -> f64 {
        self.hits as f64 / self.runs.max(1) as f64
    }

    pub(crate) fn upper(self) -> f64 {
        upper_bound(self.hits, self.runs, CONFIDENCE).unwrap_or(1.0)
    }

    pub(crate) fn lower(self) -> f64 {
        lower_bound(self.hits, self.runs, CONFIDENCE).unwrap_or(0.0)
    }
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

/// To one digit.
pub(crate) fn coarse(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The value below which this part of them lies; endless ones count as such.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

pub(crate) fn seconds(value: f64) -> String {
    if value.is_finite() { format!("{value:.1} s") } else { "none".to_owned() }
}
