//! A round of a thread: what it does from one wait for the system to the next.
//!
//! What is to be done in one round is done together, step by step: all requests that have come are read and decided on, then
//! all go on to their upstreams. Whoever they go to finds many of them at once, and is woken once; where that is on the
//! same machine, waking it for each costs more than any other part of a request. And what the processor has at hand of
//! each step serves all of them.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::runtime::Builder;
use tokio::task::yield_now;

thread_local! {
    /// Whether something was done in this round.
    static HAS_BEGUN: Cell<bool> = const { Cell::new(false) };
}

/// Has the threads of a runtime know where their rounds end. Without it, all is one round.
pub fn watch(runtime: &mut Builder) {
    runtime.on_thread_park(|| HAS_BEGUN.set(false));
}

/// Waits until whatever else there is to do in this round has been done this far. What comes first in a round, and may be the
/// only one, does not wait.
pub async fn together() {
    if HAS_BEGUN.replace(true) {
        yield_now().await;
    }
}

/// [`together`] for what is polled, by a task that others wake meanwhile.
#[derive(Debug, Default)]
pub struct Together {
    is_waiting: bool,
    done: Arc<Done>,
}

/// Whether a wait is over, and whom to tell.
#[derive(Debug, Default)]
struct Done {
    is_done: AtomicBool,
    task: AtomicWaker,
}

impl Together {
    /// Waits as [`together`] does; the call after that begins anew.
    pub fn poll(&mut self, task: &Context<'_>) -> Poll<()> {
        let begins = !self.is_waiting;
        if begins && !HAS_BEGUN.replace(true) {
            return Poll::Ready(());
        }
        self.done.task.register(task.waker());
        if begins {
            self.is_waiting = true;
            let waker = Waker::from(Arc::clone(&self.done));
            // All that is wanted of it is whom it wakes.
            let _: Poll<()> = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        }
        if !self.done.is_done.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.is_waiting = false;
        Poll::Ready(())
    }
}

impl Wake for Done {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_done.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    /// What `task` gives on a thread that knows its rounds, and whose clock goes on when it has nothing else to do.
    fn run<T>(task: impl Future<Output = T>) -> T {
        let mut runtime = Builder::new_current_thread();
        watch(&mut runtime);
        runtime.enable_time().start_paused(true).build().unwrap().block_on(task)
    }

    #[test]
    fn each_step_is_taken_by_all_before_the_next_but_by_the_first_at_once() {
        let steps = Arc::new(Mutex::new(String::new()));
        run(async {
            let mut tasks = JoinSet::new();
            for _ in 0..3 {
                let steps = Arc::clone(&steps);
                tasks.spawn(async move {
                    steps.lock().unwrap().push('r');
                    together().await;
                    steps.lock().unwrap().push('w');
                });
            }
            tasks.join_all().await;
        });
        assert_eq!(*steps.lock().unwrap(), "rwrrww");
    }

    #[test]
    fn a_round_ends_where_the_thread_has_nothing_to_do_but_wait() {
        let mut step = Together::default();
        run(async {
            for _ in 0..2 {
                let mut polled = async || poll_fn(|task| Poll::Ready(step.poll(task))).await;
                assert_eq!(polled().await, Poll::Ready(()));
                assert_eq!(polled().await, Poll::Pending);
                poll_fn(|task| step.poll(task)).await;
                sleep(Duration::from_millis(1)).await;
            }
        });
    }

    #[test]
    fn whoever_wakes_the_task_does_not_end_its_wait() {
        let mut step = Together::default();
        run(async {
            let mut polled = async || poll_fn(|task| Poll::Ready(step.poll(task))).await;
            let seen = [polled().await, polled().await, polled().await];
            assert_eq!(seen, [Poll::Ready(()), Poll::Pending, Poll::Pending]);
            yield_now().await;
            assert_eq!([polled().await, polled().await], [Poll::Ready(()), Poll::Pending]);
        });
    }
}
