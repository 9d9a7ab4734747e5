//! How long requests take: lognormal, and one in a hundred from a heavy tail.

use kit_sequential::Random;
use std::sync::LazyLock;

const MEDIAN_MS: f64 = 80.0;
const SPREAD: f64 = 0.55;
const TAIL: f64 = 0.01;
const TAIL_FROM_MS: f64 = 300.0;
/// Buckets grow by a quarter, from 20 ms; the last is open.
pub(crate) const BUCKETS: usize = 24;
const FIRST_EDGE_MS: f64 = 20.0;
const GROWTH: f64 = 1.25;
/// Cells of the table of normal quantiles.
const CELLS: usize = 4096;

/// What is worked out once: drawing is what a benchmark of the judge should not wait for.
struct Tables {
    /// Standard normal quantiles at `i / CELLS`; the ends stand for the half cell beside them.
    quantiles: Vec<f64>,
    /// Of the whole distribution, as logarithms: those above are its slowest tenth.
    ln_p90: f64,
    ln_median: f64,
    ln_tail_from: f64,
    ln_first_edge: f64,
    per_bucket: f64,
    edges: Vec<f64>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let quantile = |at: usize| {
        let p = (at as f64).clamp(0.5, CELLS as f64 - 0.5) / CELLS as f64;
        bisect(-8.0, 8.0, |z| phi(z) < p)
    };
    Tables {
        quantiles: (0..=CELLS).map(quantile).collect(),
        ln_p90: bisect(0.0, 20.0, |ln_ms| cdf(ln_ms.exp()) < 0.9),
        ln_median: MEDIAN_MS.ln(),
        ln_tail_from: TAIL_FROM_MS.ln(),
        ln_first_edge: FIRST_EDGE_MS.ln(),
        per_bucket: 1.0 / GROWTH.ln(),
        edges: (0..BUCKETS as i32 - 1).map(|at| FIRST_EDGE_MS * GROWTH.powi(at)).collect(),
    }
});

fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// How an arm is slower than usual, as logarithms of factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slower {
    all: f64,
    tail: f64,
}

impl Slower {
    /// All of it by one factor, the slowest tenth by another on top.
    pub(crate) fn by(all: f64, tail: f64) -> Self {
        Self { all: all.ln(), tail: tail.ln() }
    }
}

/// The logarithm of one latency in ms.
pub(crate) fn ln_ms(random: &mut Random, slower: Slower) -> f64 {
    let tables = &*TABLES;
    let u = random.uniform();
    let ln = if u < TAIL {
        tables.ln_tail_from - 0.5 * (u / TAIL).ln()
    } else {
        let at = (u - TAIL) * (CELLS as f64 / (1.0 - TAIL));
        let cell = (at as usize).min(CELLS - 1);
        let (low, high) = (tables.quantiles[cell], tables.quantiles[cell + 1]);
        tables.ln_median + SPREAD * (low + (high - low) * (at - cell as f64))
    };
    ln + slower.all + if ln > tables.ln_p90 { slower.tail } else { 0.0 }
}

/// The bucket of a latency.
pub(crate) fn bucket(ln_ms: f64) -> usize {
    let at = ((ln_ms - TABLES.ln_first_edge) * TABLES.per_bucket).ceil();
    // A cast from a float saturates.
    (at.max(0.0) as usize).min(BUCKETS - 1)
}

/// Draws buckets, all by the same factors: a table look-up each.
pub(crate) struct Drawer {
    slower: Slower,
    /// P(bucket ≤ i).
    below: [f64; BUCKETS],
    /// The bucket of the lowest value of each cell.
    first: [u8; GUIDES],
}

const GUIDES: usize = 256;

impl Drawer {
    pub(crate) fn new(slower: Slower) -> Self {
        let tables = &*TABLES;
        let plain = |ln_ms: f64| cdf(ln_ms.exp());
        let mut below = [1.0; BUCKETS];
        for (below, edge_ms) in below.iter_mut().zip(&tables.edges) {
            let ln = edge_ms.ln() - slower.all;
            // What is beyond the ninth tenth moves; what it leaves behind stays empty.
            *below =
                if ln > tables.ln_p90 { plain((ln - slower.tail).max(tables.ln_p90)) } else { plain(ln) };
        }
        let mut first = [0; GUIDES];
        let mut at = 0;
        for (cell, first) in first.iter_mut().enumerate() {
            while below[at] < cell as f64 / GUIDES as f64 {
                at += 1;
            }
            *first = at as u8;
        }
        Self { slower, below, first }
    }

    pub(crate) fn draws(&self, slower: Slower) -> bool {
        self.slower == slower
    }

    pub(crate) fn bucket(&self, random: &mut Random) -> usize {
        let u = random.uniform();
        let mut at = usize::from(self.first[(u * GUIDES as f64) as usize]);
        while self.below[at] < u {
            at += 1;
        }
        at
    }
}

/// Upper edges in ms, without the open one.
pub(crate) fn edges() -> &'static [f64] {
    &TABLES.edges
}

/// P(latency ≤ x).
fn cdf(x_ms: f64) -> f64 {
    let tail = if x_ms > TAIL_FROM_MS { 1.0 - (TAIL_FROM_MS / x_ms).powi(2) } else { 0.0 };
    (1.0 - TAIL) * phi((x_ms / MEDIAN_MS).ln() / SPREAD) + TAIL * tail
}

/// The normal distribution (Abramowitz and Stegun 26.2.17; error below 1e-7).
fn phi(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * poly;
    if x >= 0.0 { 1.0 - upper } else { upper }
}

/// What is drawn, one by one and by the table, has the distribution that it should have, within four standard
/// errors at each edge.
pub(crate) fn check() {
    let draws = 100_000;
    let mut random = Random::new(0x5A4E);
    let (plain, slow) = (Slower::by(1.0, 1.0), Slower::by(1.3, 2.0));
    let drawers = [plain, slow].map(Drawer::new);
    let mut counts = [[0_u64; BUCKETS]; 4];
    for _ in 0..draws {
        counts[0][bucket(ln_ms(&mut random, plain))] += 1;
        counts[1][drawers[0].bucket(&mut random)] += 1;
        counts[2][bucket(ln_ms(&mut random, slow))] += 1;
        counts[3][drawers[1].bucket(&mut random)] += 1;
    }
    let share =
        |counts: &[u64; BUCKETS], upto: usize| counts[..=upto].iter().sum::<u64>() as f64 / f64::from(draws);
    for (at, edge_ms) in edges().iter().enumerate() {
        let expected = [cdf(*edge_ms), cdf(*edge_ms), drawers[1].below[at], drawers[1].below[at]];
        for (counts, expected) in counts.iter().zip(expected) {
            let error = 4.0 * (expected * (1.0 - expected) / f64::from(draws)).sqrt() + 1e-4;
            let found = share(counts, at);
            assert!((found - expected).abs() < error, "{edge_ms} ms: {found} below, {expected} expected");
        }
    }
}
