//! Where lines of the log go. Those about requests are written by a thread of their own, so that no request waits for a
//! slow reader of stderr; when more come than it can write, some are left out and counted. All others are written at once.

use std::io::{self, BufWriter, Stderr};
use std::sync::OnceLock;

use tracing::Metadata;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::EitherWriter;

/// So many access lines may wait to be written: a few megabytes.
const MOST_WAITING: usize = 8_192;

static LEFT_OUT: OnceLock<ErrorCounter> = OnceLock::new();

/// How many access lines of this process were left out.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Lines on stderr.
pub(super) struct Lines {
    access: NonBlocking,
}

impl Lines {
    /// Lines of this process. Those that wait are written when what is given back is dropped.
    pub(super) fn new() -> (Self, WorkerGuard) {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_WAITING);
        let (access, guard) = builder.thread_name("access-log").finish(BufWriter::new(io::stderr()));
        LEFT_OUT.get_or_init(|| access.error_counter());
        (Self { access }, guard)
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = EitherWriter<NonBlocking, Stderr>;

    fn make_writer(&'w self) -> Self::Writer {
        EitherWriter::B(io::stderr())
    }

    fn make_writer_for(&'w self, about: &Metadata<'_>) -> Self::Writer {
        if about.target() == super::ACCESS { EitherWriter::A(self.access.clone()) } else { self.make_writer() }
    }
}
