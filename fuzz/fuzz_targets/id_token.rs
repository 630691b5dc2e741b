//! Feeds [`linkgate_fuzz::id_token`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::id_token::check(input));
