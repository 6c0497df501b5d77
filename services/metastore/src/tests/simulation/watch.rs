//! openraft's watch channel: tokio's, but that who waits is woken in the order of waiting. Tokio draws lots, and not from the seed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use openraft::async_runtime::watch::{RecvError, SendError};
use openraft::async_runtime::{Watch, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Watch channels in order.
pub struct InOrder;

/// Who waits for a change, or for the sender's end.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Vec<Waker>>>);

impl Waiting {
    fn wait(&self, context: &Context<'_>) {
        let mut waiting = self.0.lock();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Wakes who waits when a sender is gone.
#[derive(Clone)]
struct End(Waiting);

impl Drop for End {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// The sender. Its fields end in this order.
pub struct Sender<T> {
    sender: watch::Sender<T>,
    end: End,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), end: self.end.clone() }
    }
}

/// The receiver.
pub struct Receiver<T> {
    receiver: watch::Receiver<T>,
    waiting: Waiting,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { receiver: self.receiver.clone(), waiting: self.waiting.clone() }
    }
}

impl Watch for InOrder {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = watch::channel(init);
        let waiting = Waiting::default();
        (Sender { sender, end: End(waiting.clone()) }, Receiver { receiver, waiting })
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<InOrder, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = self.sender.send(value);
        self.end.0.wake();
        sent.map_err(|error| SendError(error.0))
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let is_modified = self.sender.send_if_modified(modify);
        if is_modified {
            self.end.0.wake();
        }
        is_modified
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.sender.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver { receiver: self.sender.subscribe(), waiting: self.end.0.clone() }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<InOrder, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|context| {
            // First: what changes from here on wakes.
            self.waiting.wait(context);
            if self.receiver.borrow_and_update().has_changed() {
                return Poll::Ready(Ok(()));
            }
            match self.receiver.has_changed() {
                Ok(_) => Poll::Pending,
                Err(_) => Poll::Ready(Err(RecvError(()))),
            }
        })
        .await
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.receiver.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.receiver.borrow_and_update()
    }
}
