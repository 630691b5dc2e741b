//! Feeds [`linkgate_fuzz::route`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::route::check(input));
