//! Feeds [`linkgate_fuzz::headers`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::headers::check(input));
