//! A bare pingora pass-through with everything at its default.

fn main() {
    linkgate_bench::bare::serve();
}
