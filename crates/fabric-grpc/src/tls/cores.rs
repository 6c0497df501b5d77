//! Threads that serve connections, each on a runtime of its own.
//!
//! What a connection brings is then done where it was read. On a runtime whose threads share work, a thread that finds a batch of
//! frames wakes another to look for more, and the two pass the connection's tasks to and fro: two switches for a batch.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use fleethaven_fabric::Traces;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::service::Routes;

use super::Tls;
use super::accept::{Arrival, HANDSHAKES, Load, accepted, admit, serve_connections};

/// Connections that may wait for a thread.
const WAITING: usize = 64;

/// Whatever its threads serve, and how each begins.
#[derive(Clone)]
pub struct Served {
    /// Who may call.
    pub tls: Arc<Tls>,
    /// What may be called.
    pub routes: Routes,
    /// Where calls whose trace is recorded are recorded.
    pub traces: Traces,
    /// Called by each thread before anything else.
    pub begin: fn(),
}

/// The threads. A connection stays with the one that had the fewest when it came.
pub struct Cores {
    accepting: JoinHandle<()>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Place {
    arrivals: mpsc::Sender<(TcpStream, SocketAddr, Load)>,
    load: Load,
    /// The thread ends with it.
    _wanted: oneshot::Sender<Infallible>,
}

impl Cores {
    /// Starts so many threads, and accepts for them.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread, or nothing to wait for sockets with.
    pub fn start(count: u8, listener: TcpListener, served: &Served) -> io::Result<Self> {
        let (mut places, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (arrivals, arriving) = mpsc::channel(WAITING);
            let (wanted, unwanted) = oneshot::channel();
            let served = served.clone();
            let run = move || {
                (served.begin)();
                runtime.block_on(async {
                    tokio::select! {
                        _ = unwanted => {}
                        () = serve(arriving, served) => {}
                    }
                });
            };
            threads.push(thread::Builder::new().name(format!("connections-{number}")).spawn(run)?);
            places.push(Place { arrivals, load: Load::default(), _wanted: wanted });
        }
        Ok(Self { accepting: tokio::spawn(accept(listener, places)), threads })
    }

    /// Ends all connections at once, and the threads.
    pub async fn close(self) {
        self.accepting.abort();
        let _aborted = self.accepting.await;
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread that served connections panicked");
                }
            }
        });
        let _cancelled_when_the_runtime_ends = joined.await;
    }
}

async fn accept(listener: TcpListener, places: Vec<Place>) {
    loop {
        let (tcp, address) = accepted(&listener).await;
        let Some(place) = freest(&places) else { return };
        // It waits for its socket where it is served.
        match tcp.into_std() {
            Ok(tcp) => drop(place.arrivals.send((tcp, address, place.load.clone())).await),
            Err(error) => tracing::warn!(%error, %address, "a connection could not be moved"),
        }
    }
}

/// `None` when no thread serves any more.
fn freest(places: &[Place]) -> Option<&Place> {
    let serving = places.iter().filter(|place| !place.arrivals.is_closed());
    serving.min_by_key(|place| place.load.connections())
}

/// For as long as there may be connections.
async fn serve(mut arriving: mpsc::Receiver<(TcpStream, SocketAddr, Load)>, served: Served) {
    let (connections, authenticated) = mpsc::channel(1);
    let serving = serve_connections(authenticated, served.routes, served.traces, std::future::pending());
    let tls = served.tls;
    let admitting = async move {
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        while let Some((tcp, address, load)) = arriving.recv().await {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match tokio::net::TcpStream::from_std(tcp) {
                Ok(tcp) => {
                    let arrival = Arrival { tcp, address, load };
                    tokio::spawn(admit(arrival, tls.clone(), connections.clone(), place));
                }
                Err(error) => tracing::warn!(%error, %address, "a connection could not be registered"),
            }
        }
    };
    tokio::select! {
        () = admitting => {}
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "a thread serves no connections any more");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_there_are_fewest() {
        let (places, mut arriving): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (arrivals, arriving) = mpsc::channel(1);
                (Place { arrivals, load: Load::default(), _wanted: oneshot::channel().0 }, arriving)
            })
            .unzip();
        let mut held: Vec<Vec<Load>> = vec![Vec::new(); 3];
        let freest = || {
            let place = freest(&places)?;
            places.iter().position(|other| std::ptr::eq(other, place))
        };
        for expected in [0, 1, 2, 0] {
            let index = freest().unwrap();
            assert_eq!(index, expected);
            held[index].push(places[index].load.clone());
        }
        held[1].clear();
        assert_eq!(freest(), Some(1));
        arriving.remove(1);
        assert_eq!(freest(), Some(2), "that thread has ended");
        arriving.clear();
        assert_eq!(freest(), None);
    }
}
