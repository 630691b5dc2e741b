//! Ends at Mosaic what has ended here, however long Mosaic takes: until then, whoever knows the session's name could sign
//! in by it.

use std::time::Duration;

use tokio::time::sleep;

use super::Chain;
use crate::mosaic;

/// The pauses between the tries to end one session. One that outlives them ends at Mosaic by its own time.
pub(super) const OF_ONE: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
];

/// The same for all sessions of a user: not so late that it would end one that was begun since.
pub(super) const OF_ALL: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(10)];

/// Makes `call`, and again and again while it fails. Only the first try is waited for when the program stops.
pub(super) async fn end<F>(pauses: &'static [Duration], call: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = Result<(), mosaic::Error>> + Send + 'static,
{
    if let Err(error) = call().await {
        tracing::warn!(error = %Chain(&error), "failed to end a session at Mosaic; it is tried again");
        tokio::spawn(again(pauses, call, error));
    }
}

async fn again<F>(pauses: &[Duration], call: impl Fn() -> F + Send + 'static, mut error: mosaic::Error)
where
    F: Future<Output = Result<(), mosaic::Error>> + Send + 'static,
{
    for pause in pauses {
        // A call that Mosaic does not want yet is held back by its client, and costs nothing.
        sleep(*pause).await;
        match call().await {
            Ok(()) => return tracing::info!("a session has ended at Mosaic after all"),
            Err(next) => error = next,
        }
    }
    tracing::error!(error = %Chain(&error), "gave up ending a session at Mosaic: it lives on there for up to two weeks");
}
