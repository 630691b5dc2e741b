//! What fuzzing begins with, and what it has found before.

use std::panic::catch_unwind;
use std::path::Path;

use linkgate_fuzz::TARGETS;

#[test]
fn every_seed_of_every_fuzz_target_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, check) in TARGETS {
        let seeds: Vec<_> = corpus.join(target).read_dir().expect(target).map(|entry| entry.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let input = std::fs::read(&seed).unwrap();
            assert!(catch_unwind(|| check(&input)).is_ok(), "{}", seed.display());
        }
    }
    let mut named = TARGETS.map(|(target, _)| target).to_vec();
    named.sort_unstable();
    let mut found: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort_unstable();
    assert_eq!(found, named);
}
