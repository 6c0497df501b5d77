//! "Is it time to stop?", asked by any number of tasks.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Becomes true once, when the process is asked to stop.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// The side that says so.
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Asks everyone to stop.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown and its trigger.
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// Returns when it is time to stop.
    pub async fn wait(&mut self) {
        // An error means the trigger is gone, which only happens while the process ends.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether it is time already.
    pub fn is_fired(&self) -> bool {
        *self.0.borrow()
    }
}

/// The signals that ask a process to stop. As PID 1 in a container the kernel delivers them only to processes that ask for
/// them, so this is made before anything else can take long.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Asks for SIGTERM and SIGINT from now on.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them; tells which.
    pub async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
