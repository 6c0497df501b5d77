//! Processes that nobody has to find, among the cluster's members all the same: so `fleethaven status` shows them, and which
//! release they run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fleethaven_daemon::shutdown::Shutdown;
use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::Role;
use tokio::task::JoinHandle;

use crate::cluster::Seat;
use crate::ready::host_port;

/// Pause before it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Keeps the process among the members until it stops. Nothing that it does waits for that, or ends with it: a metadata store of
/// an older release may not know the role.
pub(crate) fn show(
    membership: Arc<dyn Membership>,
    role: Role,
    address: SocketAddr,
    mut stopping: Shutdown,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let seat = tokio::select! {
                seat = seated(&membership, role, named(address)) => seat,
                () = stopping.wait() => return,
            };
            match seat {
                Ok(seat) => tokio::select! {
                    () = seat.lost() => {}
                    () = stopping.wait() => return seat.leave().await,
                },
                Err(error) => {
                    tracing::info!(
                        reason = format_args!("{error:#}"),
                        "`fleethaven status` does not show this process"
                    );
                }
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stopping.wait() => return,
            }
        }
    })
}

async fn seated(membership: &Arc<dyn Membership>, role: Role, address: String) -> Result<Seat> {
    let seat = Seat::take(membership, role, address).await?;
    seat.serve().await?;
    Ok(seat)
}

/// An address by which people know the process; on all addresses of a machine, by the machine's name.
fn named(address: SocketAddr) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    match host().filter(|_| address.ip().is_unspecified()) {
        Some(host) => format!("{}:{}", host.trim(), address.port()),
        None => host_port(address),
    }
}
