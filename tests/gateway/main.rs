//! linkgate

fn main() {}
