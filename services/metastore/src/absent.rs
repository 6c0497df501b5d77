//! Nodes that cannot be reached. It takes seconds to find that out where a network swallows what is sent: whoever asks again is not
//! made to wait for it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::raft::PeerError;
use parking_lot::Mutex;

/// How long a node that could not be reached the last time is waited for. One that is back answers sooner.
const BRIEFLY: Duration = Duration::from_millis(100);

/// The nodes that could not be reached when they were last asked.
#[derive(Default)]
pub(crate) struct Absent {
    /// By address; whether each is being asked again.
    nodes: Mutex<HashMap<String, bool>>,
}

/// How to ask a node.
enum Asking {
    Patiently,
    Briefly,
    /// Somebody is asking already, in vain so far.
    NotAtAll,
}

impl Absent {
    /// Whether a change is in force at the node at `address`, which `answer` tells.
    pub(crate) async fn in_force_at(
        self: Arc<Self>,
        address: String,
        answer: impl Future<Output = Result<bool, PeerError>> + Send + 'static,
    ) -> bool {
        match self.begin(&address) {
            Asking::Patiently => self.note(address, answer.await),
            Asking::Briefly => {
                // Asked to the end, so that the node is known to be back when it is.
                let asked = tokio::spawn(async move {
                    let answer = answer.await;
                    self.note(address, answer)
                });
                let in_time = tokio::time::timeout(BRIEFLY, asked).await;
                in_time.map_or(true, |told| told.unwrap_or(false))
            }
            Asking::NotAtAll => true,
        }
    }

    fn begin(&self, address: &str) -> Asking {
        match self.nodes.lock().get_mut(address) {
            None => Asking::Patiently,
            Some(true) => Asking::NotAtAll,
            Some(asked) => {
                *asked = true;
                Asking::Briefly
            }
        }
    }

    fn note(&self, address: String, answer: Result<bool, PeerError>) -> bool {
        let mut nodes = self.nodes.lock();
        match answer {
            // What watched at a node that is gone watches at another one by now.
            Err(PeerError::Unreachable(_)) => {
                nodes.insert(address, false);
                true
            }
            answer => {
                nodes.remove(&address);
                answer.unwrap_or(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const IN_VAIN: Duration = Duration::from_secs(2);

    async fn swallowed() -> Result<bool, PeerError> {
        tokio::time::sleep(IN_VAIN).await;
        Err(PeerError::Unreachable("timed out".to_owned()))
    }

    async fn took(
        absent: &Arc<Absent>,
        answer: impl Future<Output = Result<bool, PeerError>> + Send + 'static,
    ) -> (bool, Duration) {
        let began = Instant::now();
        let in_force = absent.clone().in_force_at("node".to_owned(), answer).await;
        (in_force, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_cannot_be_reached_is_waited_for_once() {
        let absent = Arc::new(Absent::default());
        assert_eq!(took(&absent, swallowed()).await, (true, IN_VAIN));
        assert_eq!(took(&absent, swallowed()).await, (true, BRIEFLY));
        assert_eq!(took(&absent, swallowed()).await, (true, Duration::ZERO), "one asks for all");
        tokio::time::sleep(IN_VAIN).await;
        assert_eq!(took(&absent, swallowed()).await, (true, BRIEFLY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_back_counts_again() {
        let absent = Arc::new(Absent::default());
        took(&absent, swallowed()).await;
        assert_eq!(took(&absent, async { Ok(false) }).await, (false, Duration::ZERO));
        assert_eq!(took(&absent, swallowed()).await, (true, IN_VAIN), "it is waited for like any other");
        let no_answer = async { Err(PeerError::NoAnswer("it broke off".to_owned())) };
        assert_eq!(took(&absent, no_answer).await, (false, Duration::ZERO));
        assert_eq!(took(&absent, async { Ok(true) }).await, (true, Duration::ZERO));
    }
}
