//! Which credentials a process has: a number that the kernel keeps of it ([`rbuild_sandbox::notify::keep_number`]), the
//! place of a set of credentials in a table that only grows. So fork, exec, orphans and used-again pids are the kernel's
//! affair. A whole installation of packages has some twenty sets.

use crate::credentials::Credentials;
use rbuild_sandbox::notify;
use rustix::io::Errno;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Where tokens begin if any number can be kept: far from what anybody means as a limit.
const BEGIN: u64 = 1 << 62;

/// How many sets there may be: only a step that makes them on purpose has as many.
const MOST: u64 = 1 << 16;

/// How many supplementary groups all sets may have together, for the same reason: 16 MiB of numbers.
const MOST_GROUPS: usize = 4 << 20;

/// The credentials of all processes of a step.
#[derive(Debug)]
pub struct Tokens {
    begin: u64,
    sets: RwLock<Sets>,
}

#[derive(Debug)]
struct Sets {
    list: Vec<Arc<Credentials>>,
    /// Supplementary groups of all of them.
    groups: usize,
    numbers: HashMap<Arc<Credentials>, u64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self::below(notify::largest_number())
    }
}

impl Tokens {
    /// With numbers that are no larger than this one.
    fn below(largest: Option<u64>) -> Self {
        let begin = largest.map_or(BEGIN, |largest| largest.saturating_sub(MOST).min(BEGIN));
        let root = Arc::new(Credentials::root());
        let sets = Sets { list: vec![Arc::clone(&root)], groups: 0, numbers: HashMap::from([(root, 0)]) };
        Self { begin, sets: RwLock::new(sets) }
    }

    /// The credentials of a process or thread; those of root if it is gone.
    pub fn of(&self, pid: u32) -> Arc<Credentials> {
        self.decode(notify::kept_number(pid).unwrap_or(u64::MAX))
    }

    /// Gives a process other credentials.
    ///
    /// # Errors
    /// ENOMEM if there are too many different ones, ESRCH if it is gone.
    pub fn set(&self, pid: u32, credentials: Credentials) -> Result<(), Errno> {
        let number = self.encode(credentials)?;
        notify::keep_number(pid, number).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::SRCH))
    }

    fn encode(&self, credentials: Credentials) -> Result<u64, Errno> {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = sets.numbers.get(&credentials) {
            return Ok(self.begin + number);
        }
        let number = sets.list.len() as u64;
        let groups = sets.groups + credentials.groups.len();
        if number >= MOST || groups > MOST_GROUPS {
            return Err(Errno::NOMEM);
        }
        sets.groups = groups;
        let credentials = Arc::new(credentials);
        sets.list.push(Arc::clone(&credentials));
        sets.numbers.insert(credentials, number);
        Ok(self.begin + number)
    }

    /// Any number that is no token is what the command began with.
    fn decode(&self, number: u64) -> Arc<Credentials> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let place = number.checked_sub(self.begin).and_then(|place| usize::try_from(place).ok());
        let found = place.and_then(|place| sets.list.get(place)).unwrap_or(&sets.list[0]);
        Arc::clone(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn user(id: u32) -> Credentials {
        let mut credentials = Credentials::root();
        credentials.set_user(id).unwrap();
        credentials
    }

    #[test]
    fn equal_credentials_have_one_number() {
        let tokens = Tokens::below(None);
        let numbers: Vec<u64> =
            [5, 6, 5].into_iter().map(|id| tokens.encode(user(id)).unwrap() - BEGIN).collect();
        assert_eq!(numbers, [1, 2, 1]);
        assert_eq!(tokens.encode(Credentials::root()).unwrap(), BEGIN);
        assert_eq!(*tokens.decode(BEGIN + 2), user(6));
    }

    #[test]
    fn a_number_that_is_no_token_is_root() {
        let tokens = Tokens::below(None);
        tokens.encode(user(5)).unwrap();
        for number in [0, 1, 1_000_000, BEGIN, BEGIN + 2, u64::MAX] {
            assert_eq!(*tokens.decode(number), Credentials::root(), "{number}");
        }
    }

    #[test]
    fn long_lists_of_groups_come_to_an_end() {
        let tokens = Tokens::below(None);
        let with = |first: u32| {
            let mut credentials = Credentials::root();
            credentials.groups = (first..first + 65_536).collect();
            credentials
        };
        let given = (0..100).filter(|first| tokens.encode(with(*first)).is_ok()).count();
        assert_eq!(given, MOST_GROUPS / 65_536);
        assert!(tokens.encode(with(0)).is_ok(), "one that is known costs nothing");
        assert!(tokens.encode(user(5)).is_ok());
    }

    #[test]
    fn tokens_fit_below_a_limit_and_come_to_an_end() {
        let tokens = Tokens::below(Some(1_000_000));
        let mut last = 0;
        for id in 1..MOST {
            last = tokens.encode(user(u32::try_from(id).unwrap())).unwrap();
        }
        assert!(last < 1_000_000, "{last}");
        assert_eq!(tokens.encode(user(70_000)), Err(Errno::NOMEM));
        assert_eq!(
            *tokens.decode(1_000_000),
            Credentials::root(),
            "the limit itself is what a command begins with"
        );
        assert_eq!(tokens.encode(user(3)).unwrap() - tokens.begin, 3);
    }
}
