//! What is reached over the network: the cluster, the session store, HTTPS.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use fleethaven_daemon::clock;
use fleethaven_fabric::admin::{GroupStatus, Status};
use fleethaven_fabric::membership::{Phase, Role, RoutingTable};
use fleethaven_pki::Certificate;
use fleethaven_storage_redis::RedisStore;
use http::header::{DATE, HOST};
use http::{HeaderMap, Request};
use http_body_util::Full;

use super::Finding;
use super::local::validity;
use crate::call;
use crate::cli::{Place, ReachArgs, StoreArgs};
use crate::overview::{self, Overview, role};

/// Seconds by which two clocks may differ before it is told; AWS's signatures stand five minutes.
const SKEW: u64 = 5;
const SKEW_MOST: u64 = 300;
/// Entries by which a node may be behind before it is told.
const BEHIND: u64 = 10_000;

/// The metadata store, the members and the slots.
pub(super) async fn cluster(metastore: &[String], folder: &Path) -> Vec<Finding> {
    let reach = ReachArgs { metastore: metastore.to_vec(), cluster_tls: folder.to_owned() };
    match overview::look(&reach).await {
        Ok(overview) => of_overview(&overview),
        Err(error) => {
            let advice = "`fleethaven pki issue --role operator` makes the folder";
            vec![Finding::failed("cluster", format!("{error:#}"), advice)]
        }
    }
}

fn of_overview(overview: &Overview) -> Vec<Finding> {
    let mut findings: Vec<_> = overview.nodes.iter().map(|(address, status)| node(address, status)).collect();
    match &overview.table {
        Some(table) => {
            findings.extend([Role::Gateway, Role::Router].map(|role| members(table, role)));
            findings.extend(overview.slots().map(slots));
        }
        None => findings.push(Finding::failed(
            "members",
            "nobody tells which there are",
            "have a quorum of the metadata store's nodes run",
        )),
    }
    findings
}

/// A node of the metadata store.
fn node(address: &str, status: &Result<Status>) -> Finding {
    let name = format!("metadata store {address}");
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return Finding::failed(
                name,
                format!("{error:#}"),
                "start it, or let its port be reached from here",
            );
        }
    };
    let out = status.groups().filter(|group| !group.confirmed).count();
    let behind = status.groups().filter_map(furthest_behind).max().unwrap_or_default();
    if out > 0 {
        let detail = format!("it is out of touch with the leader in {out} groups");
        Finding::failed(name, detail, "have a quorum of nodes run, and reach each other")
    } else if behind > BEHIND {
        let detail = format!("a follower is {behind} entries behind");
        Finding::warning(name, detail, "look at that node's disk and network; it catches up by itself")
    } else {
        Finding::well(name, format!("node {}, in touch in every group", status.node))
    }
}

/// How far the slowest voter is behind, as the leader knows.
fn furthest_behind(group: &GroupStatus) -> Option<u64> {
    group.nodes.iter().filter(|node| node.votes).filter_map(|node| group.lag(node.node)).max()
}

fn members(table: &RoutingTable, kind: Role) -> Finding {
    let name = format!("members: {}", role(kind));
    let all: Vec<_> = table.members.iter().filter(|member| member.role == kind).collect();
    let serving = all.iter().filter(|member| member.phase == Phase::Serving).count();
    let detail = format!("{serving} of {} in service", all.len());
    match serving {
        0 => Finding::failed(name, detail, format!("start `fleethaven {}`", role(kind))),
        1 => Finding::warning(name, detail, "run two or more, so that one may end"),
        _ => Finding::well(name, detail),
    }
}

fn slots(slots: overview::Slots) -> Finding {
    let detail = format!("{} of {} are served, {} are moving", slots.owned, slots.all, slots.moving);
    match slots.owned < slots.all {
        true => Finding::failed("slots", detail, "have a router in service: publishes to the others wait"),
        false => Finding::well("slots", detail),
    }
}

/// Whether Redis answers and can keep the promise that is asked of it.
pub(super) async fn session_store(arguments: &StoreArgs) -> Finding {
    let name = "session store";
    let advice = "name it with --redis and the options beside it";
    let options = match arguments.options() {
        Ok(options) => options,
        Err(error) => return Finding::failed(name, format!("{error:#}"), advice),
    };
    let opened =
        tokio::task::spawn_blocking(move || RedisStore::open(options).map(|store| store.close())).await;
    match opened {
        Ok(Ok(())) => Finding::well(name, "it answers, and keeps what it is asked to keep"),
        Ok(Err(error)) => Finding::failed(name, error.to_string(), advice),
        Err(error) => Finding::failed(name, error.to_string(), advice),
    }
}

/// An HTTPS endpoint: its certificate, and its clock.
pub(super) async fn https(place: &Place, ca: Option<&Path>) -> Vec<Finding> {
    let name = format!("https {}:{}", place.host, place.port);
    match ask(place, ca).await {
        Ok((certificate, headers)) => {
            let now = clock::now().as_secs();
            let mut findings = vec![validity(format!("{name}: certificate"), &certificate, now)];
            findings.extend(skew(&headers, now).map(|skew| clocks(format!("{name}: clock"), skew)));
            findings
        }
        Err(error) => {
            let advice =
                "let it be reached from here under a name in its certificate, and name its CA with --ca";
            vec![Finding::failed(name, format!("{error:#}"), advice)]
        }
    }
}

async fn ask(place: &Place, ca: Option<&Path>) -> Result<(String, HeaderMap)> {
    let ca = ca.context("name its CA with --ca")?;
    let roots = std::fs::read_to_string(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let tls = call::tls(&roots, None)?;
    let stream = call::connect(&place.host, place.port, &tls).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = Certificate::parse_der(shown.context("it showed no certificate")?)?.pem();
    let host = format!("{}:{}", call::bracketed(&place.host), place.port);
    let request = Request::get("/").header(HOST, host).body(Full::<Bytes>::default())?;
    Ok((certificate, call::headers(stream, request).await?))
}

/// By how many seconds the clock there differs.
fn skew(headers: &HeaderMap, now: u64) -> Option<u64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let there = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(there.as_secs().abs_diff(now))
}

fn clocks(name: String, skew: u64) -> Finding {
    let detail = format!("it differs by {skew} seconds from this machine's");
    let advice = "let both follow one source of time (NTP)";
    match skew {
        0..=SKEW => Finding::well(name, detail),
        skew if skew <= SKEW_MOST => Finding::warning(name, detail, advice),
        _ => Finding::failed(name, format!("{detail}: signatures are refused"), advice),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn clocks_that_differ_are_told() {
        let headers = HeaderMap::from_iter([(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap())]);
        let there = 784_111_777;
        let verdict = |now| clocks("c".to_owned(), skew(&headers, now).unwrap()).verdict;
        assert_eq!(verdict(there + 5), Verdict::Well);
        assert_eq!(verdict(there - 6), Verdict::Warning);
        assert_eq!(verdict(there + 301), Verdict::Failed);
        assert_eq!(skew(&HeaderMap::new(), there), None);
    }
}
