//! New connections go to the core that has fewest, whichever the kernel gave them to.

use crate::support::{Broker, Client, clean, until};
use fleethaven_mqtt::Version;
use tempfile::TempDir;

/// Connections by which a core may exceed another, as in `services/gateway/src/accept.rs`.
const BOUND: f64 = 32.0;

fn sockets(broker: &Broker, core: usize) -> f64 {
    broker.metric(&format!("fleethaven_gateway_sockets{{core=\"{core}\"}}"))
}

/// Connects, and tells on which core the connection is.
fn place(broker: &Broker, number: usize) -> (Client, usize) {
    let before = sockets(broker, 0);
    let client = broker.connect(clean(Version::V311, &format!("client-{number}")));
    let core = usize::from(sockets(broker, 0) == before);
    (client, core)
}

#[test]
fn cores_are_level_again_after_one_has_lost_its_connections() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut cores: [Vec<Client>; 2] = [Vec::new(), Vec::new()];
    for number in 0..300 {
        let (client, core) = place(&broker, number);
        cores[core].push(client);
    }
    let kept = cores[1].len() as f64;
    assert!(kept > 100.0 && cores[0].len() > 100, "the kernel spreads them, give or take");
    // What SO_REUSEPORT alone would never mend: one core loses all it has.
    cores[0].clear();
    until("core 0 is empty", || sockets(&broker, 0) == 0.0);
    let mut late = Vec::new();
    for number in 300..600 {
        late.push(broker.connect(clean(Version::V311, &format!("client-{number}"))));
    }
    let (first, second) = (sockets(&broker, 0), sockets(&broker, 1));
    assert_eq!(first + second, kept + 300.0);
    assert!((first - second).abs() <= BOUND + 1.0, "{first} and {second}");
    for client in late.iter_mut().chain(&mut cores[1]) {
        assert_eq!(client.ping(), []);
    }
}
