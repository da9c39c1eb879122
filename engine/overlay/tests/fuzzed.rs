//! The check of the fuzz target `requests` (tests/fuzz), over a few random cases.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/fuzz/src/requests.rs"]
mod requests;

use proptest::{collection::vec, prelude::*};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn any_requests_leave_what_can_be_committed(bytes in vec(any::<u8>(), 0..3000)) {
        requests::check(&bytes);
    }
}
