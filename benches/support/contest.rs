//! Candidates measured in turns, and the table of it.
//!
//! In each round every candidate runs once, and the round after starts with another one, so that a machine that slows
//! down or a disk that catches up hits all alike. Medians are compared; the best and the worst show how far to trust
//! them.

use super::{run::processor_time, settle};
use std::{cell::RefCell, time::Duration};

/// One side of a comparison: prepares and runs something, gives the time of what counts. The argument is the round,
/// from 1.
type Measure<'a> = Box<dyn FnMut(usize) -> Duration + 'a>;

/// Candidates, the first of which is what the others are compared with.
#[derive(Default)]
pub struct Contest<'a> {
    candidates: Vec<(String, Measure<'a>)>,
    missing: Vec<(String, String)>,
}

/// What came out: times of each candidate in the order of its rounds.
pub struct Results {
    rows: Vec<(String, Vec<Duration>)>,
    missing: Vec<(String, String)>,
}

impl<'a> Contest<'a> {
    /// Adds a candidate.
    pub fn candidate(mut self, name: &str, measure: impl FnMut(usize) -> Duration + 'a) -> Self {
        self.candidates.push((name.to_owned(), Box::new(measure)));
        self
    }

    /// Adds a line to the table for one that cannot be measured here.
    pub fn missing(mut self, name: &str, reason: &str) -> Self {
        self.missing.push((name.to_owned(), reason.to_owned()));
        self
    }

    /// Runs all of them `rounds` times, or as often as RBUILD_BENCH_ROUNDS says.
    pub fn run(mut self, rounds: usize) -> Results {
        let count = self.candidates.len();
        let mut times = vec![Vec::new(); count];
        for round in 1..=rounds_or(rounds) {
            for turn in 0..count {
                let index = (turn + round - 1) % count;
                settle();
                times[index].push((self.candidates[index].1)(round));
            }
        }
        let names = self.candidates.into_iter().map(|(name, _)| name);
        Results { rows: names.zip(times).collect(), missing: self.missing }
    }
}

impl Results {
    /// Prints medians, extremes and ratios to the first candidate.
    pub fn print(&self) {
        let names = self.rows.iter().map(|row| &row.0).chain(self.missing.iter().map(|row| &row.0));
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        println!(
            "\n  {:width$}  {:>10}  {:>10}  {:>10}  {:>6}  rounds",
            "", "median", "best", "worst", "ratio"
        );
        for (name, times) in &self.rows {
            let (low, high) = (times.iter().min(), times.iter().max());
            let (low, high) = (low.copied().unwrap_or_default(), high.copied().unwrap_or_default());
            let median = median(times);
            let ratio = median.as_secs_f64() / self.median(0).as_secs_f64();
            let (median, low, high) = (show(median), show(low), show(high));
            println!("  {name:width$}  {median:>10}  {low:>10}  {high:>10}  {ratio:>6.2}  {}", times.len());
        }
        for (name, reason) in &self.missing {
            println!("  {name:width$}  not measured: {reason}");
        }
    }

    /// The median over the rounds of one candidate's time divided by another's in the same round: what a drifting
    /// machine disturbs least.
    pub fn ratio(&self, index: usize, to: usize) -> f64 {
        let pairs = self.rows[index].1.iter().zip(&self.rows[to].1);
        let mut ratios: Vec<f64> =
            pairs.map(|(one, other)| one.as_secs_f64() / other.as_secs_f64()).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let (low, high) = (ratios[(ratios.len() - 1) / 2], ratios[ratios.len() / 2]);
        (low + high) / 2.0
    }

    /// The median of a candidate, by its number from 0.
    pub fn median(&self, index: usize) -> Duration {
        self.rows.get(index).map(|row| median(&row.1)).unwrap_or_default()
    }
}

/// Runs something and keeps beside it the processor time that it and its descendants took.
pub fn with_processor_time(kept: &RefCell<Vec<Duration>>, run: impl FnOnce() -> Duration) -> Duration {
    let before = processor_time();
    let wall = run();
    kept.borrow_mut().push(processor_time() - before);
    wall
}

/// Prints a figure with its bound.
pub fn bound(what: &str, value: f64, unit: &str, most: f64) {
    let verdict = if value <= most { "holds" } else { "MISSED" };
    println!("  {what}: {value:.2}{unit}, at most {most}{unit}: {verdict}");
}

/// Prints a figure that must not be smaller than its bound.
pub fn at_least(what: &str, value: f64, unit: &str, least: f64) {
    let verdict = if value >= least { "holds" } else { "MISSED" };
    println!("  {what}: {value:.2}{unit}, at least {least}{unit}: {verdict}");
}

/// The middle one; of an even number the mean of the middle two.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => Duration::ZERO,
        length if length % 2 == 1 => sorted[length / 2],
        length => (sorted[length / 2 - 1] + sorted[length / 2]) / 2,
    }
}

/// Milliseconds as a number.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How many processors this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn rounds_or(rounds: usize) -> usize {
    let wanted = std::env::var("RBUILD_BENCH_ROUNDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(rounds).max(1)
}

fn show(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.2} ms", ms(time))
    } else {
        format!("{:.3} s", time.as_secs_f64())
    }
}
