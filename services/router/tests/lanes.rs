//! Gateways and routers over real connections: what is published at one gateway reaches the subscribers of another, through
//! the owner of its topic's slot, in order, and without loss of what was acknowledged when an owner dies.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "lanes/cluster.rs"]
mod cluster;

use cluster::{Cluster, message};
use fleethaven_fabric::delivery::Push;
use fleethaven_storage::{EntryId, SessionId};
use fleethaven_types::QoS::{AtLeastOnce, AtMostOnce};

/// Payloads of direct pushes to a session, in order.
fn direct(pushes: &[Push], session: SessionId) -> Vec<String> {
    let payload = |push: &Push| match push {
        Push::Direct { message, targets, .. } if targets.iter().any(|target| target.session == session) => {
            Some(String::from_utf8(message.payload.to_vec()).unwrap())
        }
        _ => None,
    };
    pushes.iter().filter_map(payload).collect()
}

#[tokio::test]
async fn what_one_gateway_publishes_the_clients_of_another_get() {
    let mut cluster = Cluster::new();
    let router = cluster.router();
    cluster.assign(&[&router], |_| router.incarnation);
    let (mut here, mut there) = (cluster.gateway(), cluster.gateway());
    let clean = SessionId(1 << 40);
    let address = there.attach(clean, false);
    assert!(there.subscribe(clean, "a/b/c/d", AtLeastOnce).await);
    assert!(!there.subscribe(clean, "a/b/c/d", AtLeastOnce).await, "not new any more");
    assert!(there.subscribe(clean, "+/b/#", AtMostOnce).await);
    assert!(here.publish_acknowledged(message("a/b/c/d", AtLeastOnce, "1")).await);
    assert!(!here.publish_acknowledged(message("nobody", AtLeastOnce, "2")).await);
    here.publish(message("a/b/c/d", AtMostOnce, "3"), None);
    assert!(here.publish_acknowledged(message("x/b", AtLeastOnce, "4")).await);
    let got = there.pushed(|pushes| Some(direct(pushes, clean)).filter(|got| got.len() == 3)).await;
    assert_eq!(got, ["1", "3", "4"]);
    let at = there
        .pushed(|pushes| match &pushes[0] {
            Push::Direct { targets, message, .. } => Some((targets[0].address, message.publisher.clone())),
            _ => None,
        })
        .await;
    assert_eq!(at.0, address, "as the gateway knows it");
    assert_eq!(*at.1, *message("", AtMostOnce, "").publisher);

    let persistent = cluster.claim("persistent").await.session;
    let address = there.attach(persistent, true);
    assert!(there.subscribe(persistent, "q/#", AtLeastOnce).await);
    assert!(here.publish_acknowledged(message("q/1", AtLeastOnce, "5")).await);
    let queued = |pushes: &[Push]| {
        pushes.iter().find_map(|push| match push {
            Push::Queued { address, session, position, .. } if *session == persistent => {
                Some((*address, position.entry))
            }
            _ => None,
        })
    };
    assert_eq!(there.pushed(queued).await, (address, EntryId(1)));
}
