//! Whose turn it is among several servers, by weight.

use std::cmp::Ordering as Order;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::setting::Balance;

/// The turns of an upstream's servers. Taking one locks nothing.
pub(super) struct Turns {
    balance: Balance,
    weights: Vec<usize>,
    /// The servers by turns: each as often as its weight says, spread evenly.
    order: Vec<usize>,
    next: AtomicUsize,
}

impl Turns {
    /// Servers with these weights, none of which is 0.
    pub(super) fn new(balance: Balance, weights: Vec<usize>) -> Self {
        Self { balance, order: spread(&weights), weights, next: AtomicUsize::new(0) }
    }

    /// The server whose turn it is among those that `may` have one; `take` is asked last, once for each that it refuses.
    /// `open` is how many requests a server has.
    pub(super) fn next(
        &self,
        may: impl Fn(usize) -> bool,
        take: impl Fn(usize) -> bool,
        open: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if self.balance == Balance::RoundRobin {
            let (before, after) = self.order.split_at(turn % self.order.len().max(1));
            return after.iter().chain(before).copied().find(|server| may(*server) && take(*server));
        }
        let count = self.weights.len();
        // Whoever is refused here had its turn taken by another request just now, so that it may have none any more.
        for _ in 0..count {
            let servers = (0..count).map(|step| (turn + step) % count).filter(|server| may(*server));
            let least = servers.min_by(|a, b| self.compare((*a, open(*a)), (*b, open(*b))))?;
            if take(least) {
                return Some(least);
            }
        }
        None
    }

    /// Which of two servers would be less loaded by one more request, for its weight.
    fn compare(&self, (a, open_at_a): (usize, usize), (b, open_at_b): (usize, usize)) -> Order {
        ((open_at_a + 1) * self.weights[b]).cmp(&((open_at_b + 1) * self.weights[a]))
    }
}

/// Each server as often as its weight says, as far from itself as that allows.
fn spread(weights: &[usize]) -> Vec<usize> {
    let divisor = weights.iter().copied().reduce(common_divisor).unwrap_or(1).max(1);
    let weights: Vec<isize> = weights.iter().map(|weight| (weight / divisor).cast_signed()).collect();
    let total: isize = weights.iter().sum();
    let mut credits = vec![0; weights.len()];
    let turn = |_| {
        for (credit, weight) in credits.iter_mut().zip(&weights) {
            *credit += weight;
        }
        // Of equal ones the first.
        let (server, _) = credits.iter().enumerate().rev().max_by_key(|(_, credit)| **credit)?;
        credits[server] -= total;
        Some(server)
    };
    (0..total).filter_map(turn).collect()
}

const fn common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(balance: Balance, weights: &[usize], count: usize, may: impl Fn(usize) -> bool + Copy) -> Vec<usize> {
        let turns = Turns::new(balance, weights.to_vec());
        (0..count).filter_map(|_| turns.next(may, |_| true, |_| 0)).collect()
    }

    #[test]
    fn turns_go_round_by_weight_and_are_spread() {
        let check = |weights: &[usize], expected: &[usize]| {
            assert_eq!(turns(Balance::RoundRobin, weights, expected.len(), |_| true), expected, "{weights:?}");
        };
        check(&[1], &[0, 0]);
        check(&[1, 1], &[0, 1, 0, 1]);
        check(&[7, 7, 7], &[0, 1, 2, 0, 1, 2]);
        check(&[2, 1], &[0, 1, 0, 0, 1, 0]);
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        check(&[], &[]);
    }

    #[test]
    fn who_is_out_is_passed_over() {
        assert_eq!(turns(Balance::RoundRobin, &[1, 1, 1], 4, |server| server != 1), [0, 2, 2, 0]);
        assert_eq!(turns(Balance::LeastConnections, &[1, 1, 1], 3, |server| server != 0), [1, 1, 2]);
        assert_eq!(turns(Balance::RoundRobin, &[1, 1], 4, |_| false), [0; 0]);
        assert_eq!(turns(Balance::LeastConnections, &[1, 1], 4, |_| false), [0; 0]);
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_next() {
        let check = |weights: &[usize], open: &[usize], expected: usize| {
            let turns = Turns::new(Balance::LeastConnections, weights.to_vec());
            assert_eq!(turns.next(|_| true, |_| true, |server| open[server]), Some(expected), "{weights:?} {open:?}");
        };
        check(&[1, 1], &[3, 2], 1);
        check(&[1, 1], &[2, 2], 0);
        check(&[3, 1], &[2, 1], 0);
        check(&[3, 1], &[6, 1], 1);
        check(&[100, 1], &[98, 0], 0);
    }

    proptest! {
        #[test]
        fn over_a_whole_round_each_has_its_share(weights in prop::collection::vec(1_usize..=100, 1..8)) {
            let total: usize = weights.iter().sum();
            let taken = turns(Balance::RoundRobin, &weights, total, |_| true);
            for (server, weight) in weights.iter().enumerate() {
                prop_assert_eq!(taken.iter().filter(|taken| **taken == server).count(), *weight);
            }
        }
    }
}
