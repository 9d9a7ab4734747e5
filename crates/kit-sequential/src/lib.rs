//! Sequential statistics for a canary: how sure may one be, at any moment, that the new version is worse?
//!
//! Everything here is pure and deterministic: counts in, evidence out. Nothing reads a clock, a file or
//! a random device, so a recorded stage leads to the same numbers again, bit by bit.
//!
//! # E-processes
//!
//! A test that is looked at after every tick must not be a test for one look. The tool for that is the
//! *e-process*: a quantity `E_t ≥ 0` that starts at 1 and whose expectation, whenever one stops, is at
//! most 1 as long as the null hypothesis holds. By Ville's inequality (J. Ville, *Étude critique de la
//! notion de collectif*, 1939),
//!
//! ```text
//! P(there is a t with E_t ≥ 1/α) ≤ α
//! ```
//!
//! so "roll back when `E_t ≥ 1/α`" blames a healthy canary with probability at most `α`, however often
//! one looks and however long one goes on. See Ramdas, Grünwald, Vovk, Shafer, *Game-theoretic statistics
//! and safe anytime-valid inference*, Statistical Science 38 (2023).
//!
//! Products of likelihood ratios are e-processes, and so is every convex combination of e-processes,
//! whatever the dependence between them. Both facts carry this crate:
//!
//! - [`Mixture`] averages over effect sizes and over the moments at which an effect may have begun.
//! - [`RateTest`] compares failures of two arms; what hits both arms cancels.
//! - [`OneArmTest`] and [`Boundary`] compare one arm with a rate that is tolerated.
//! - [`SignTest`] and [`TailTest`] compare latencies.
//! - [`NonInferiority`] says when a canary may pass early, [`ShareTest`] when it gets no traffic,
//!   [`FallTest`] when what it counts has silently fallen.
//! - [`Budget`] splits `α`; [`weighted`] combines metrics.
//! - [`detectable`] and [`Boundary::detectable`] say what could have been seen; [`upper_bound`] how bad
//!   the canary may be all the same.
//! - [`consecutive`], [`rate_above`] and [`WindowRule`] say what rules without statistics cost.
#![warn(missing_docs)]

mod binomial;
mod boundary;
mod causes;
mod classical;
mod combine;
mod latency;
mod mixture;
mod non_inferiority;
mod one_arm;
mod opening;
mod power;
mod random;
mod rate;
mod share;
mod windowed;

pub use binomial::{lower_bound, lower_tail, upper_bound, upper_tail};
pub use boundary::Boundary;
pub use classical::{consecutive, rate_above};
pub use combine::{Budget, weighted};
pub use latency::{SignTest, TailTest};
pub use mixture::Mixture;
pub use non_inferiority::NonInferiority;
pub use one_arm::OneArmTest;
pub use power::{Arrivals, Scene, detectable, detectable_alone, detection};
pub use random::Random;
pub use rate::{LOOKS_AT, RateSettings, RateTest, TwoArms, ln_likelihood_ratio};
pub use share::{FallTest, ShareTest};
pub use windowed::WindowRule;
