//! `cargo xtask bench canary`: how often the real judge blames healthy canaries, and how soon it finds bad
//! ones, beside what others do with the same requests. Seeds are fixed: the tables are the same every time.
//! Prints Markdown, row by row; with `--part=NAME` one part of it, or the `pace`.
#![allow(clippy::print_stdout, reason = "the tables are the output")]
#![allow(clippy::print_stderr, reason = "how far it is")]
#![allow(clippy::disallowed_methods, reason = "the pace of the judge is measured on the real clock")]

mod bad;
mod healthy;
mod pace;
mod peers;
mod proofs;
mod report;
mod shape;
mod stage;
mod stream;

/// Measures one part, and prints it.
type Part = fn(&mut report::Report);

/// The parts, and where their seeds begin: others than those that anything was tuned on.
const PARTS: [(&str, u64, Part); 6] = [
    ("healthy", 14_000, healthy::tuned),
    ("held-out", 14_100, healthy::held_out),
    ("together", 14_200, healthy::together),
    ("peers", 14_300, healthy::others),
    ("bad", 15_000, bad::run),
    ("proofs", 16_000, proofs::run),
];

fn main() {
    peers::kayenta::check();
    shape::check();
    let valued = |name: &str| std::env::args().find_map(|arg| arg.strip_prefix(name).map(str::to_owned));
    if valued("--part=pace").is_some() {
        pace::run();
        return;
    }
    // A divisor of all numbers of runs, for those who only want to see that it works.
    let divisor = valued("--scale=").and_then(|scale| scale.parse().ok()).unwrap_or(1_u64).max(1);
    let only = valued("--part=");
    for (name, suite, part) in PARTS {
        if only.as_deref().is_none_or(|only| only == name) {
            let mut report = report::Report::new(divisor, suite);
            part(&mut report);
            report.targets();
        }
    }
}
