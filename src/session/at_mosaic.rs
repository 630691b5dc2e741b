//! Ends at Mosaic what has ended here, however long Mosaic takes: until then, whoever knows the session's name could sign
//! in by it.

use std::time::Duration;

use tokio::time::sleep;

use super::Chain;
use crate::mosaic;

/// The pauses between the tries. A session that outlives them ends at Mosaic by its own time.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
];

/// Makes `call`, and again and again while it fails. Only the first try is waited for when the program stops.
pub(super) async fn end<F>(call: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = Result<(), mosaic::Error>> + Send + 'static,
{
    if let Err(error) = call().await {
        tracing::warn!(error = %Chain(&error), "failed to end a session at Mosaic; it is tried again");
        tokio::spawn(again(call, error));
    }
}

async fn again<F>(call: impl Fn() -> F + Send + 'static, mut error: mosaic::Error)
where
    F: Future<Output = Result<(), mosaic::Error>> + Send + 'static,
{
    for pause in PAUSES {
        sleep(pause.max(error.retry_after().unwrap_or_default())).await;
        match call().await {
            Ok(()) => return tracing::info!("a session has ended at Mosaic after all"),
            Err(next) => error = next,
        }
    }
    tracing::error!(error = %Chain(&error), "gave up ending a session at Mosaic: it lives on there for up to two weeks");
}
