//! Calls that go to a target together: while a batch is under way, the next one gathers. So batches are as large as the target is
//! slow, and nobody waits for company.
//!
//! One of those who wait carries out for the others: no task is needed, and none is left behind.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Error;

type Outcome = Result<(), Error>;

/// Those who wait for one target.
pub(super) struct Group<T> {
    waiting: Mutex<VecDeque<(T, oneshot::Sender<Outcome>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::new(()) }
    }
}

impl<T> Group<T> {
    /// Has `item` carried out in a batch of at most `most`, perhaps by somebody else. `carry` gives an outcome for each item.
    ///
    /// # Errors
    /// That of the item; transient, if whoever carried it out gave up.
    pub(super) async fn join<F>(
        &self,
        item: T,
        most: usize,
        resource: &str,
        carry: impl Fn(Vec<T>) -> F,
    ) -> Outcome
    where
        F: Future<Output = Vec<Outcome>>,
    {
        let given_up = || Err(Error::transient(resource, "the batch was given up"));
        let (tell, mut told) = oneshot::channel();
        self.waiting.lock().push_back((item, tell));
        loop {
            let _turn = tokio::select! {
                biased;
                outcome = &mut told => return outcome.unwrap_or_else(|_| given_up()),
                turn = self.turn.lock() => turn,
            };
            let (batch, tell) = self.next(most);
            let outcomes = if batch.is_empty() { Vec::new() } else { carry(batch).await };
            for (tell, outcome) in tell.into_iter().zip(outcomes) {
                // One that does not wait any more has failed on its own.
                let _ = tell.send(outcome);
            }
        }
    }

    /// The first of those who still wait.
    fn next(&self, most: usize) -> (Vec<T>, Vec<oneshot::Sender<Outcome>>) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|(_, tell)| !tell.is_closed());
        let count = waiting.len().min(most);
        waiting.drain(..count).unzip()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_one_batch_is_under_way_is_the_next() {
        let (group, batches, let_go) = (Group::default(), Mutex::new(Vec::new()), Semaphore::new(0));
        let carry = |batch: Vec<u32>| {
            batches.lock().push(batch.clone());
            let let_go = &let_go;
            async move {
                let _ = let_go.acquire().await;
                let outcome = |n| if n == 3 { Err(Error::permanent("r", "three")) } else { Ok(()) };
                batch.into_iter().map(outcome).collect()
            }
        };
        let mut all = Box::pin(join_all((0..6).map(|n| group.join(n, 3, "r", carry))));
        assert!(futures_util::poll!(&mut all).is_pending(), "the first is under way, and the others wait");
        assert_eq!(*batches.lock(), [vec![0]]);
        let_go.add_permits(1);
        let outcomes = all.await;
        let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, false, false, true, false, false]);
        assert_eq!(*batches.lock(), [vec![0], vec![1, 2, 3], vec![4, 5]]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_one_that_gives_up_is_told() {
        let group = Group::default();
        let never = |_: Vec<u32>| std::future::pending();
        let mut first = Box::pin(group.join(1, 10, "r", never));
        let mut second = Box::pin(group.join(2, 10, "r", never));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let all = |batch: Vec<u32>| std::future::ready(batch.iter().map(|_| Ok(())).collect());
        let third = group.join(3, 10, "r", all);
        let (second, third) = tokio::join!(tokio::time::timeout(Duration::from_secs(1), second), third);
        assert!(second.is_err() && third.is_ok(), "the second carries out for itself now, and never ends");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_by_one_that_gives_up_fails_transiently() {
        let group = Group::default();
        let never = |_: Vec<u32>| std::future::pending();
        let mut turn = Box::pin(group.join(1, 10, "r", never));
        assert!(futures_util::poll!(&mut turn).is_pending());
        let mut second = Box::pin(group.join(2, 10, "r", never));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(turn);
        // The second takes its own turn with the third, and is given up.
        let mut third = Box::pin(group.join(3, 10, "r", never));
        assert!(futures_util::poll!(&mut third).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        assert!(third.await.unwrap_err().transient);
    }
}
