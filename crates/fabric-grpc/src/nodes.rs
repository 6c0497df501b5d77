//! The nodes of a metastore, any of which will do, and the one that is asked at present.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tonic::Status;

use crate::status::was_not_sent;

/// An answer that takes longer is asked for elsewhere as well, where that does no harm. Longer than any command takes but at an
/// election.
const SLOW: Duration = Duration::from_secs(1);

/// One client stub for each node. Clones share which one is asked.
#[derive(Debug)]
pub(crate) struct Nodes<S> {
    stubs: Vec<S>,
    present: watch::Sender<usize>,
}

impl<S: Clone> Nodes<S> {
    /// Nodes of which number `first`, counted round, is asked first.
    pub(crate) fn new(stubs: impl Iterator<Item = S>, first: usize) -> Arc<Self> {
        let stubs: Vec<S> = stubs.collect();
        let first = first % stubs.len().max(1);
        Arc::new(Self { stubs, present: watch::Sender::new(first) })
    }

    /// The present one, and its number.
    pub(crate) fn present(&self) -> Option<(usize, S)> {
        let number = *self.present.borrow();
        self.stubs.get(number).map(|stub| (number, stub.clone()))
    }

    /// All of them, the present one first.
    pub(crate) fn in_turn(&self) -> Vec<(usize, S)> {
        let (before, from) =
            (0..self.stubs.len()).partition::<Vec<_>, _>(|number| *number < *self.present.borrow());
        let numbers = from.into_iter().chain(before);
        numbers.filter_map(|number| Some((number, self.stubs.get(number)?.clone()))).collect()
    }

    /// From here on this one is asked.
    pub(crate) fn turn_to(&self, number: usize) {
        self.present.send_if_modified(|present| std::mem::replace(present, number) != number);
    }

    /// From here on another one is asked, unless that has been decided already.
    pub(crate) fn leave(&self, number: usize) {
        self.present.send_if_modified(|present| {
            let leaves = *present == number && self.stubs.len() > 1;
            if leaves {
                *present = (number + 1) % self.stubs.len();
            }
            leaves
        });
    }

    /// Returns when another one than `number` is asked.
    pub(crate) async fn left(&self, number: usize) {
        // The sender lives as long as this does.
        let _ = self.present.subscribe().wait_for(|present| *present != number).await;
    }

    /// Asks one node after the other until one can be reached: what did not arrive can be asked again.
    pub(crate) async fn call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        ask: impl Fn(S) -> F,
    ) -> Result<T, Status> {
        let mut last = Status::unavailable("there is no metastore");
        for _ in 0..self.stubs.len() {
            let Some((number, stub)) = self.present() else { break };
            match ask(stub).await {
                Err(status) if was_not_sent(&status) => {
                    self.leave(number);
                    last = status;
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    /// The same for what may be carried out twice: where a node does not answer in time, because it leads and hears nobody or does
    /// not reach the leader, or where others have left it meanwhile, the next is asked as well, and the first answer counts.
    pub(crate) async fn call_again<T, F: Future<Output = Result<T, Status>>>(
        &self,
        ask: impl Fn(S) -> F,
    ) -> Result<T, Status> {
        let mut calls = FuturesUnordered::new();
        let mut nodes = self.in_turn().into_iter();
        let mut first = None;
        let mut last = Status::unavailable("there is no metastore");
        loop {
            let asked = nodes.next().map(|(number, stub)| {
                let call = ask(stub);
                calls.push(async move { (number, call.await) });
                number
            });
            first = first.or(asked);
            let are_more = nodes.len() > 0;
            let present = *self.present.borrow();
            tokio::select! {
                biased;
                answer = calls.next() => match answer {
                    None => return Err(last),
                    Some((number, Err(status))) if was_not_sent(&status) => {
                        self.leave(number);
                        last = status;
                    }
                    Some((number, answer)) => {
                        if answer.is_ok() && first != Some(number) {
                            self.turn_to(number);
                        }
                        return answer;
                    }
                },
                () = self.left(present), if are_more => {}
                () = tokio::time::sleep(SLOW), if are_more => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_may_be_asked_twice_does_not_wait_for_a_node_that_was_left() {
        let nodes = Nodes::new([0, 1, 2].into_iter(), 0);
        let asked = Arc::new(AtomicUsize::new(0));
        let call = nodes.call_again(|node| {
            asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match node {
                    0 => std::future::pending().await,
                    node => Ok::<_, Status>(node),
                }
            }
        });
        let (answer, ()) = tokio::join!(call, async { nodes.leave(0) });
        assert_eq!(answer.unwrap(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn another_is_asked_where_one_does_not_answer() {
        let nodes = Nodes::new([0, 1, 2].into_iter(), 1);
        let began = tokio::time::Instant::now();
        let call = nodes.call_again(|node| async move {
            match node {
                0 => Ok::<_, Status>(node),
                _ => std::future::pending().await,
            }
        });
        assert_eq!(call.await.unwrap(), 0);
        assert!((2 * SLOW..3 * SLOW).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(nodes.present(), Some((0, 0)), "who comes next does not wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_where_the_others_give_none() {
        let nodes = Nodes::new([0, 1].into_iter(), 0);
        let call = nodes.call_again(|node| async move {
            match node {
                0 => {
                    tokio::time::sleep(3 * SLOW).await;
                    Ok::<_, Status>(node)
                }
                _ => std::future::pending().await,
            }
        });
        assert_eq!(call.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_answer_of_any_kind_ends_the_asking() {
        let nodes = Nodes::new([0, 1].into_iter(), 1);
        let refused = nodes.call_again(|_| async { Err::<(), _>(Status::permission_denied("no")) }).await;
        assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
        assert_eq!(nodes.present(), Some((1, 1)));
    }
}
