//! Room for what statements make of messages, until the actions are done with it: 512 KiB can be made of a message of 100 bytes, and a
//! slow target keeps them. What finds no room is not evaluated yet. No account takes all of it.

use std::sync::Arc;

use fleethaven_rulesql::Outcome;
use fleethaven_types::AccountId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// What a permit stands for.
const UNIT: usize = 1024;
/// Units in all: 256 MiB.
const TOTAL: usize = 256 * 1024;
/// Units of one account: a quarter.
const SHARE: usize = TOTAL / 4;
/// Units that an evaluation is given before it is known what it makes: as many as the most expensive one makes, with a copy of its
/// payload for each of ten actions.
const MOST: u32 = 24 * 1024;
/// Accounts that are remembered without having anything.
const REMEMBERED: usize = 1024;

/// The room of a worker.
pub struct Room {
    all: Semaphore,
    accounts: Mutex<FxHashMap<AccountId, Arc<Semaphore>>>,
}

/// A part of it, until it is dropped.
#[expect(dead_code, reason = "it is held")]
pub(crate) struct Place<'a>(Option<SemaphorePermit<'a>>, Option<OwnedSemaphorePermit>);

impl Default for Room {
    fn default() -> Self {
        Self { all: Semaphore::new(TOTAL), accounts: Mutex::default() }
    }
}

impl Room {
    /// Evaluates a statement when there is room for what it may make, and holds as much as it made, with `copies` of it.
    pub(crate) async fn evaluate(
        &self,
        account: AccountId,
        copies: usize,
        evaluate: impl FnOnce() -> Outcome,
    ) -> (Outcome, Place<'_>) {
        // Where there is room nothing is waited for, not even a turn: messages are evaluated in the order in which they came. The
        // semaphores are never closed.
        let share = self.share(account);
        let mut of_account = match share.clone().try_acquire_many_owned(MOST) {
            Ok(place) => Some(place),
            Err(_) => share.acquire_many_owned(MOST).await.ok(),
        };
        let mut of_all = match self.all.try_acquire_many(MOST) {
            Ok(place) => Some(place),
            Err(_) => self.all.acquire_many(MOST).await.ok(),
        };
        let outcome = evaluate();
        let made = match &outcome {
            Outcome::Fired(fired) => fired.weight.saturating_mul(copies),
            Outcome::NotFired { .. } | Outcome::Failed(_) => 0,
        };
        let most = usize::try_from(MOST).unwrap_or(usize::MAX);
        let excess = most.saturating_sub(made.div_ceil(UNIT));
        drop(of_all.as_mut().and_then(|place| place.split(excess)));
        drop(of_account.as_mut().and_then(|place| place.split(excess)));
        (outcome, Place(of_all, of_account))
    }

    fn share(&self, account: AccountId) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock();
        if accounts.len() >= REMEMBERED {
            accounts.retain(|_, share| Arc::strong_count(share) > 1);
        }
        accounts.entry(account).or_insert_with(|| Arc::new(Semaphore::new(SHARE))).clone()
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_rulesql::{Failure, Fired, Output, Variables};
    use futures_util::future::FutureExt;

    use super::*;

    fn account(number: u64) -> AccountId {
        format!("{number:012}").parse().unwrap()
    }

    async fn made(room: &Room, number: u64, weight: usize) -> Option<Place<'_>> {
        // As many as there may be at once.
        tokio::task::yield_now().await;
        let fired = || {
            let output = Output::Json(bytes::Bytes::new());
            Outcome::Fired(Fired { output, variables: Variables::default(), weight })
        };
        room.evaluate(account(number), 2, fired).now_or_never().map(|(_, place)| place)
    }

    #[tokio::test]
    async fn what_is_held_is_bounded_and_what_is_done_makes_room() {
        let (room, mut held) = (Room::default(), Vec::new());
        let most = usize::try_from(MOST).unwrap();
        while let Some(place) = made(&room, 1, 512 * 1024).await {
            held.push(place);
        }
        assert_eq!(held.len(), (SHARE - most) / 1024 + 1);
        assert!(made(&room, 2, 512 * 1024).await.is_some(), "another account has its own");
        held.pop();
        assert!(made(&room, 1, 100).await.is_some());
        for number in 2..20 {
            while let Some(place) = made(&room, number, 512 * 1024).await {
                held.push(place);
            }
        }
        assert_eq!(held.len(), (TOTAL - most) / 1024 + 1);
        drop(held);
        let nothing = || Outcome::Failed(Failure::TooMuchWork);
        let (_, place) = room.evaluate(account(1), 2, nothing).await;
        assert_eq!(room.all.available_permits(), TOTAL, "nothing was made");
        drop(place);
        drop(made(&room, 1, usize::MAX).await);
        assert_eq!(room.all.available_permits(), TOTAL);
        assert_eq!(room.share(account(1)).available_permits(), SHARE);
    }
}
