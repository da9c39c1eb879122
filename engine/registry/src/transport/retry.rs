//! When to try again.

use super::{Response, Transience};
use jiff::Timestamp;
use std::time::Duration;
use ureq::http::header;

/// Failures of one operation, however much came between them.
const MOST_FAILURES: u32 = 200;

/// How often and how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Tries in all, for as long as nothing moves on.
    pub attempts: u32,
    /// Before the second try; doubled for each one after it.
    pub first_wait: Duration,
    /// No wait is longer, unless the server asks for it.
    pub longest_wait: Duration,
    /// A server that asks for a longer wait than this is given up.
    pub longest_asked: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(300),
            longest_wait: Duration::from_secs(10),
            longest_asked: Duration::from_secs(120),
        }
    }
}

/// Counts the tries of one operation.
pub(crate) struct Attempts {
    policy: RetryPolicy,
    /// In a row.
    failed: u32,
    all: u32,
}

impl Attempts {
    pub fn new(policy: &RetryPolicy) -> Self {
        Self { policy: policy.clone(), failed: 0, all: 0 }
    }

    /// Something moved on: what failed before no longer counts.
    pub fn progress(&mut self) {
        self.failed = 0;
    }

    /// The failures in a row.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Counts a failure; how long to wait before the next try, or none if there shall not be one.
    pub fn after_failure(&mut self, transience: Transience, asked: Option<Duration>) -> Option<Duration> {
        self.failed += 1;
        self.all += 1;
        let most = match transience {
            Transience::Never => return None,
            Transience::Brief => self.policy.attempts.min(3),
            Transience::Yes => self.policy.attempts,
        };
        let is_enough = self.failed >= most || self.all > MOST_FAILURES;
        if is_enough || asked.is_some_and(|asked| asked > self.policy.longest_asked) {
            return None;
        }
        let doubled = self.policy.first_wait.saturating_mul(1 << (self.failed - 1).min(16));
        let wait = doubled.min(self.policy.longest_wait);
        // Half of it by chance, so that many clients do not come back in one moment.
        let wait = wait.mul_f64(0.5 + 0.5 * fastrand::f64());
        Some(wait.max(asked.unwrap_or_default()))
    }
}

/// The wait that a server asks for: seconds or a time (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    parse_retry_after(response.header(header::RETRY_AFTER)?, Timestamp::now())
}

fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(time.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_forms_of_retry_after() {
        let now: Timestamp = "2026-11-25T08:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 25 Nov 2026 08:00:30 GMT", Some(30)),
            ("Wed, 25 Nov 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let policy =
            RetryPolicy { attempts: 5, first_wait: Duration::from_secs(1), ..RetryPolicy::default() };
        let mut attempts = Attempts::new(&policy);
        for longest in [1, 2, 4, 8] {
            let wait = attempts.after_failure(Transience::Yes, None).unwrap().as_secs_f64();
            assert!((f64::from(longest) / 2.0..=f64::from(longest)).contains(&wait), "{wait} of {longest}");
        }
        assert_eq!(attempts.after_failure(Transience::Yes, None), None);
        attempts.progress();
        let asked = Duration::from_secs(60);
        assert_eq!(attempts.after_failure(Transience::Yes, Some(asked)), Some(asked));
        assert_eq!(attempts.after_failure(Transience::Yes, Some(Duration::from_secs(121))), None);
        assert_eq!(Attempts::new(&policy).after_failure(Transience::Never, None), None);
        let mut attempts = Attempts::new(&policy);
        let goes_on = |_: &u32| {
            attempts.progress();
            attempts.after_failure(Transience::Yes, None).is_some()
        };
        assert_eq!((0..1000).take_while(goes_on).count(), 200);
    }
}
