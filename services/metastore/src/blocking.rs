//! Work that waits for the disk, away from the threads that serve.

use std::io;

/// Does `work` on a thread of its own; an error when it panicked. In a simulation there is one thread, which does it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    #[cfg(test)]
    if let Some(host) = crate::tests::simulation::here() {
        host.works().await;
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
