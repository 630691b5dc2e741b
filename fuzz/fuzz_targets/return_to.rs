//! Feeds [`linkgate_fuzz::return_to`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::return_to::check(input));
