//! What canary and baseline did over the same span of time: the only thing that may be compared.

use crate::tick::{Arm, ArmTick, Counts, Latencies, Sample};
use kit_sequential::TwoArms;
use std::collections::{BTreeMap, VecDeque};

/// A block is closed after this time, however few requests it has.
const LONGEST_MS: u64 = 1000;
/// A block has room for so many clumps: in a shorter one, more of them would be cut in two and count twice.
pub(crate) const CLUMPS_PER_BLOCK: u32 = 4;
/// Upper limits of the buckets that latencies of probes are sorted into: 16 per octave, from 1 ms.
const PER_OCTAVE: i32 = 16;
const OCTAVES: i32 = 17;

/// A span of time, too short for two hiccups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(crate) until_ms: u64,
    pub(crate) arms: TwoArms,
    /// Pairs of good answers to probes of the same moment, and those where the canary was slower.
    pub(crate) pairs: u64,
    pub(crate) slower: u64,
    pub(crate) canary: Latencies,
    pub(crate) baseline: Latencies,
    pub(crate) began_ms: u64,
}

impl Block {
    /// The block after this one. Room for latencies is kept: there are many blocks.
    fn reset(&mut self) {
        self.arms = TwoArms::default();
        (self.pairs, self.slower, self.began_ms) = (0, 0, 0);
        self.canary.counts.clear();
        self.baseline.counts.clear();
    }

    fn is_empty(&self) -> bool {
        self.arms == TwoArms::default()
    }
}

/// Probes that were sent at the same moment: canary first, then baseline.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    n: [u64; 2],
    errors: [u64; 2],
    good_ms: [Option<f64>; 2],
}

/// Brings the two arms together.
#[derive(Clone, Debug)]
pub(crate) struct Pairing {
    has_baseline: bool,
    /// So many requests close a block.
    enough: u64,
    margin: f64,
    warm_up_ms: u64,
    patience_ms: u64,
    tolerance_ms: u64,
    rounds: BTreeMap<u64, Round>,
    queues: [VecDeque<Counts>; 2],
    done_ms: u64,
    open: Block,
}

impl Pairing {
    pub(crate) fn new(has_baseline: bool, enough: u64, margin: f64, settings: &super::Settings) -> Self {
        Self {
            has_baseline,
            enough: enough.max(1).saturating_mul(u64::from(CLUMPS_PER_BLOCK)),
            margin,
            warm_up_ms: settings.warm_up_ms,
            patience_ms: settings.patience_ms(),
            tolerance_ms: settings.interval_ms / 2,
            rounds: BTreeMap::new(),
            queues: [VecDeque::new(), VecDeque::new()],
            done_ms: 0,
            open: Block::default(),
        }
    }

    /// Takes what came in on one arm.
    pub(crate) fn absorb(&mut self, arm: &ArmTick) {
        let at = match arm.arm {
            Arm::Canary => 0,
            Arm::Baseline if self.has_baseline => 1,
            Arm::Baseline => return,
        };
        for sample in &arm.samples {
            let round = self.rounds.entry(sample.sent_ms).or_default();
            round.n[at] += 1;
            round.errors[at] += u64::from(sample.kind.is_failure());
            if !sample.kind.is_failure() {
                round.good_ms[at] = good_ms(sample, self.warm_up_ms);
            }
        }
        for counts in &arm.counts {
            // What was judged without it cannot be judged again.
            if counts.until_ms > self.done_ms {
                self.queues[at].push_back(counts.clone());
            }
        }
    }

    /// Hands over every block that is complete. With `all`, nothing is waited for any longer.
    pub(crate) fn take(&mut self, now_ms: u64, all: bool, mut to: impl FnMut(&Block)) {
        self.take_rounds(now_ms, all, &mut to);
        self.take_counts(&mut to);
        if !self.open.is_empty() && (all || now_ms >= self.open.began_ms + LONGEST_MS) {
            self.close(&mut to);
        }
    }

    /// Rounds in the order in which they were sent, as long as both answers are in or time is up. A
    /// round of which nothing is known yet holds nobody up: it is taken when it comes, as a pair.
    fn take_rounds(&mut self, now_ms: u64, all: bool, to: &mut impl FnMut(&Block)) {
        while let Some((sent_ms, round)) = self.rounds.first_key_value() {
            let (sent_ms, round) = (*sent_ms, *round);
            let complete = round.n[0] > 0 && (!self.has_baseline || round.n[0] == round.n[1]);
            if !(complete || all || now_ms >= sent_ms.saturating_add(self.patience_ms)) {
                break;
            }
            self.rounds.pop_first();
            self.open_at(sent_ms, to);
            self.open.until_ms = self.open.until_ms.max(sent_ms);
            self.open.arms.requests += round.n[0];
            self.open.arms.errors += round.errors[0];
            self.open.arms.baseline_requests += round.n[1];
            self.open.arms.baseline_errors += round.errors[1];
            let [canary_ms, baseline_ms] = round.good_ms;
            self.add_latencies(canary_ms, baseline_ms);
            self.close_if_enough(to);
        }
    }

    fn add_latencies(&mut self, canary_ms: Option<f64>, baseline_ms: Option<f64>) {
        if let (Some(canary_ms), Some(baseline_ms)) = (canary_ms, baseline_ms) {
            self.open.pairs += 1;
            self.open.slower += u64::from(canary_ms > baseline_ms * (1.0 + self.margin));
        }
        for (latencies, value_ms) in
            [(&mut self.open.canary, canary_ms), (&mut self.open.baseline, baseline_ms)]
        {
            if let Some(value_ms) = value_ms {
                add_sample(latencies, value_ms);
            }
        }
    }

    /// Counts up to every moment up to which both arms are known. Counts of a span that one arm has and
    /// the other has not must wait: what struck both would look like the fault of one.
    fn take_counts(&mut self, to: &mut impl FnMut(&Block)) {
        while let Some((canary, baseline)) = self.aligned() {
            for (at, taken) in [canary, baseline].into_iter().enumerate() {
                for _ in 0..taken {
                    let Some(counts) = self.queues[at].pop_front() else { break };
                    if self.open.is_empty() {
                        self.open.began_ms = self.done_ms;
                    }
                    self.open.until_ms = self.open.until_ms.max(counts.until_ms);
                    self.add_counts(at, &counts);
                }
            }
            self.done_ms = self.open.until_ms.max(self.done_ms);
            if self.done_ms >= self.open.began_ms + LONGEST_MS {
                self.close(to);
            } else {
                self.close_if_enough(to);
            }
        }
    }

    /// How many entries of each arm reach up to the first moment that both reach.
    fn aligned(&self) -> Option<(usize, usize)> {
        if !self.has_baseline {
            return (!self.queues[0].is_empty()).then_some((1, 0));
        }
        let (mut canary, mut baseline) = (0, 0);
        loop {
            let (a, b) = (self.queues[0].get(canary)?.until_ms, self.queues[1].get(baseline)?.until_ms);
            if a.abs_diff(b) <= self.tolerance_ms {
                return Some((canary + 1, baseline + 1));
            }
            if a < b { canary += 1 } else { baseline += 1 }
        }
    }

    fn add_counts(&mut self, at: usize, counts: &Counts) {
        let arms = &mut self.open.arms;
        let errors = counts.errors.min(counts.requests);
        if at == 0 {
            arms.requests += counts.requests;
            arms.errors += errors;
        } else {
            arms.baseline_requests += counts.requests;
            arms.baseline_errors += errors;
        }
        if counts.until_ms >= self.warm_up_ms
            && let Some(latencies) = &counts.latencies
        {
            merge(if at == 0 { &mut self.open.canary } else { &mut self.open.baseline }, latencies);
        }
    }

    fn open_at(&mut self, at_ms: u64, to: &mut impl FnMut(&Block)) {
        if !self.open.is_empty() && at_ms >= self.open.began_ms.saturating_add(LONGEST_MS) {
            self.close(to);
        }
        if self.open.is_empty() {
            self.open.began_ms = at_ms;
        }
    }

    fn close_if_enough(&mut self, to: &mut impl FnMut(&Block)) {
        if self.open.arms.requests >= self.enough {
            self.close(to);
        }
    }

    fn close(&mut self, to: &mut impl FnMut(&Block)) {
        if !self.open.is_empty() {
            to(&self.open);
        }
        self.open.reset();
    }
}

/// The latency of a good answer, if it is judged at all.
fn good_ms(sample: &Sample, warm_up_ms: u64) -> Option<f64> {
    (sample.sent_ms >= warm_up_ms && sample.latency_ms.is_finite()).then_some(sample.latency_ms)
}

/// Adds counts of the same buckets. Counts of other buckets cannot be added, and are left out.
pub(crate) fn merge(into: &mut Latencies, more: &Latencies) {
    if into.counts.is_empty() {
        into.upper_ms.clone_from(&more.upper_ms);
        into.counts.clone_from(&more.counts);
    } else if into.upper_ms == more.upper_ms && into.counts.len() == more.counts.len() {
        into.counts.iter_mut().zip(&more.counts).for_each(|(sum, more)| *sum += more);
    }
}

fn add_sample(into: &mut Latencies, value_ms: f64) {
    if into.counts.is_empty() {
        if into.upper_ms.len() != (OCTAVES * PER_OCTAVE) as usize {
            let limits = 0..OCTAVES * PER_OCTAVE;
            into.upper_ms = limits.map(|step| (f64::from(step) / f64::from(PER_OCTAVE)).exp2()).collect();
        }
        into.counts.resize(into.upper_ms.len() + 1, 0);
    }
    let at = into.upper_ms.partition_point(|upper_ms| *upper_ms < value_ms);
    if let Some(count) = into.counts.get_mut(at) {
        *count += 1;
    }
}
