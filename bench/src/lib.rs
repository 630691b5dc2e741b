//! What several programs of the benchmark share.

pub mod bare;
pub mod load;
pub mod population;
