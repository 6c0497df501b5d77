//! A connection to a system that is opened when it is needed, shared, and opened again when it broke.

use std::time::Duration;

use tokio::sync::Mutex;

use super::Error;

/// How long opening may take.
const WITHIN: Duration = Duration::from_secs(5);

/// At most one connection, of a type that is cheap to clone.
pub(super) struct Kept<C>(Mutex<State<C>>);

struct State<C> {
    open: Option<C>,
    /// Connections that there were before.
    before: u64,
}

/// Which connection it was.
pub(super) type Number = u64;

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Self(Mutex::new(State { open: None, before: 0 }))
    }
}

impl<C: Clone> Kept<C> {
    /// The connection that is open, if `alive` says that it can be used; otherwise a new one.
    ///
    /// # Errors
    /// Those of `open`; transient, when it takes too long.
    pub(super) async fn get<F>(
        &self,
        resource: &str,
        alive: impl FnOnce(&C) -> bool,
        open: impl FnOnce() -> F,
    ) -> Result<(Number, C), Error>
    where
        F: Future<Output = Result<C, Error>>,
    {
        let mut state = self.0.lock().await;
        if let Some(connection) = state.open.as_ref().filter(|connection| alive(connection)) {
            return Ok((state.before, connection.clone()));
        }
        state.open = None;
        let opened = tokio::time::timeout(WITHIN, open()).await;
        let late =
            || Err(Error::transient(resource, format!("no connection within {} seconds", WITHIN.as_secs())));
        let connection = opened.unwrap_or_else(|_| late())?;
        state.open = Some(connection.clone());
        state.before += 1;
        Ok((state.before, connection))
    }

    /// The connection of this number cannot be used any more.
    pub(super) async fn forget(&self, number: Number) {
        let mut state = self.0.lock().await;
        if state.before == number {
            state.open = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(kept: &Kept<u32>, alive: bool, next: u32) -> (Number, u32) {
        kept.get("r", |_| alive, || std::future::ready(Ok(next))).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_shared_until_it_is_forgotten_or_dead() {
        let kept = Kept::default();
        let (first, made) = get(&kept, true, 1).await;
        assert_eq!((get(&kept, true, 2).await, made), ((first, 1), 1));
        kept.forget(first).await;
        let (second, made) = get(&kept, true, 2).await;
        assert_eq!(made, 2);
        kept.forget(first).await;
        assert_eq!(get(&kept, true, 3).await, (second, 2), "another one broke");
        assert_eq!(get(&kept, false, 3).await.1, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let kept = Kept::<u32>::default();
        let error = kept.get("r", |_| true, std::future::pending).await.unwrap_err();
        assert!(error.transient && error.message.contains("within 5 seconds"));
    }
}
