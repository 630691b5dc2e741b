//! A bare pingora pass-through with the allocator that linkgate has.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    linkgate_bench::bare::serve();
}
