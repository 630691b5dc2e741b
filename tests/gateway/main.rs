//! linkgate's stories, each in the file of its part.

mod config;
