//! Everything under `/.linkgate/`.

pub mod sign_in;
