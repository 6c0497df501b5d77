//! What connections to brokers have in common: a task carries what is published and tells each publisher what the broker made of it.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::Error;

/// How long the broker may take for what it is sent.
const WITHIN: Duration = Duration::from_secs(5);
/// Publishes that wait to be written.
const WAITING: usize = 64;

/// What the broker makes of a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    Refused { reason: String, transient: bool },
}

pub(super) type Tell = oneshot::Sender<Outcome>;

/// What the task carries: it ends when nobody holds the other end.
pub(super) type Publishes<P> = mpsc::Receiver<(P, Tell)>;

/// A way to the broker. It is open as long as somebody holds it.
pub(super) struct Carried<P>(mpsc::Sender<(P, Tell)>);

impl<P> Clone for Carried<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> Carried<P> {
    /// A way, and what the task of the connection takes from it.
    pub(super) fn new() -> (Self, Publishes<P>) {
        let (sender, publishes) = mpsc::channel(WAITING);
        (Self(sender), publishes)
    }

    /// Whether the connection is there.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// Publishes, and waits until the broker has acknowledged it, or until it is sent where nothing is acknowledged.
    pub(super) async fn publish(&self, publish: P, resource: &str) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        let broken = || Error::transient(resource, "the connection to the broker broke off");
        let exchange = async {
            self.0.send((publish, tell)).await.map_err(|_| broken())?;
            told.await.map_err(|_| broken())
        };
        let late = || Err(Error::transient(resource, "the broker acknowledged nothing in time"));
        match tokio::time::timeout(WITHIN, exchange).await.unwrap_or_else(|_| late())? {
            Outcome::Taken => Ok(()),
            Outcome::Refused { reason, transient } => {
                Err(Error { transient, ..Error::permanent(resource, reason) })
            }
        }
    }
}

/// Writes all of `out`.
pub(super) async fn flush(stream: &mut (impl AsyncWrite + Unpin), out: &mut BytesMut) -> Result<(), String> {
    if out.is_empty() {
        return Ok(());
    }
    let written = tokio::time::timeout(WITHIN, async {
        stream.write_all_buf(out).await?;
        stream.flush().await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it reads nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn publishers_hear_what_became_of_their_publish() {
        let (way, mut publishes) = Carried::<u32>::new();
        let carrier = tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((publish, tell)) = publishes.recv().await {
                match publish {
                    0 => _ = tell.send(Outcome::Taken),
                    1 => _ = tell.send(Outcome::Refused { reason: "no".to_owned(), transient: false }),
                    2 => drop(tell),
                    _ => unanswered.push(tell),
                }
            }
        });
        assert_eq!(way.publish(0, "r").await, Ok(()));
        assert_eq!(way.publish(1, "r").await, Err(Error::permanent("r", "no")));
        assert!(way.publish(2, "r").await.unwrap_err().message.contains("broke off"));
        assert!(way.publish(3, "r").await.unwrap_err().message.contains("nothing in time"));
        assert!(way.is_open());
        carrier.abort();
        let _ = carrier.await;
        assert!(!way.is_open() && way.publish(0, "r").await.unwrap_err().transient);
    }
}
