//! The nodes of a metastore, any of which will do, and the one that is asked at present.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;

use crate::status::was_not_sent;

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
}
