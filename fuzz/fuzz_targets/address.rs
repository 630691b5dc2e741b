//! Feeds [`linkgate_fuzz::address`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::address::check(input));
