//! Feeds [`linkgate_fuzz::access`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::access::check(input));
