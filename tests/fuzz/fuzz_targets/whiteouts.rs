#![no_main]
use rbuild_fuzz::whiteouts::{Code, check, items};

libfuzzer_sys::fuzz_target!(|codes: (Vec<Code>, Vec<Code>)| check(&items(&codes.0), &items(&codes.1)));
