//! `fleethaven metastore depths`: how many levels of a topic choose its slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{RoutingTable, TableStream};
use fleethaven_topics::DepthRules;
use futures_util::StreamExt;
use serde::Serialize;

use crate::cli::{DepthsCommand, DepthsSetArgs};
use crate::overview::membership;
use crate::process::print_line;

/// How long the metadata store may take to tell its table.
const TABLE_WITHIN: Duration = Duration::from_secs(5);
/// How long routers may take to load what other depths want.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(120);
const NO_TABLE: &str = "no node of the metadata store tells the table of slots";

/// What is in force, and what is to come.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    now: Rules,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Rules>,
}

#[derive(Serialize)]
struct Rules {
    default: usize,
    prefixes: BTreeMap<String, usize>,
}

impl Rules {
    fn of(rules: &DepthRules) -> Self {
        Self { default: rules.default_depth(), prefixes: rules.prefixes().iter().cloned().collect() }
    }
}

/// Carries out the command.
pub(crate) async fn run(command: &DepthsCommand) -> Result<()> {
    let (DepthsCommand::Show(reach) | DepthsCommand::Set(DepthsSetArgs { reach, .. })) = command;
    let cluster = membership(reach)?;
    let mut tables = cluster.table();
    let mut table = tokio::time::timeout(TABLE_WITHIN, next(&mut tables)).await.context(NO_TABLE)??;
    if let DepthsCommand::Set(wanted) = command {
        let prefix = wanted.prefix.clone().unwrap_or_default();
        let asked = cluster.set_depth(prefix, wanted.levels).await;
        asked.map_err(|error| anyhow!("the depths stay as they are: {error}"))?;
        let end = tokio::time::Instant::now() + IN_FORCE_WITHIN;
        while !are_as(wanted, &table.depths.now) {
            match tokio::time::timeout_at(end, next(&mut tables)).await {
                Ok(newer) => table = newer?,
                Err(_) => bail!("the change is still on its way: {}", waited_for(&table)),
            }
        }
    }
    print_line(&Line { now: Rules::of(&table.depths.now), next: table.depths.next.as_ref().map(Rules::of) })
}

async fn next(tables: &mut TableStream) -> Result<Arc<RoutingTable>> {
    tables.next().await.context(NO_TABLE)
}

fn are_as(wanted: &DepthsSetArgs, rules: &DepthRules) -> bool {
    let levels = wanted.levels.and_then(|levels| usize::try_from(levels).ok());
    match wanted.prefix.as_deref().unwrap_or_default() {
        "" => rules.default_depth() == levels.unwrap_or_else(|| DepthRules::default().default_depth()),
        prefix => {
            rules.prefixes().iter().find(|(known, _)| known == prefix).map(|(_, depth)| *depth) == levels
        }
    }
}

/// What a change of the depths waits for.
fn waited_for(table: &RoutingTable) -> String {
    match table.change {
        None => "the metadata store has not told of it".to_owned(),
        Some(change) if change.switching => {
            let held = table.slots.iter().filter(|slot| slot.owner.is_some()).count();
            format!("{held} slots are not released yet")
        }
        Some(_) => "routers load what it wants".to_owned(),
    }
}
