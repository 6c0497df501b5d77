//! `fleethaven usage`: what accounts and their billing groups have used of what AWS bills for.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_registry::usage::day_of;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{AccountId, Scope};
use fleethaven_usage::summary::{self, Priced, Sum};
use fleethaven_usage::{Amounts, By, Days};
use serde::{Deserialize, Serialize};

use crate::ask::{self, print};
use crate::cli::UsageQueryArgs;
use crate::columns;
use crate::operators::{Line, Request};
use crate::process::print_line;

/// Carries out the command.
pub(crate) async fn run(arguments: UsageQueryArgs) -> Result<()> {
    let UsageQueryArgs { account, from, to, month, by, csv, into, place } = arguments;
    let today = day_of(clock::now());
    let month = match month.as_deref() {
        Some("last") => Some(summary::month_before(today)),
        _ => month,
    };
    let days = match &month {
        Some(month) => Days::of_month(month),
        None => Days::read(from.as_deref(), to.as_deref(), today),
    };
    let Days { from, to } = days.map_err(anyhow::Error::msg)?;
    let answer = ask::answer(&place, Request::Usage { account, from, to, by }).await?;
    if place.json {
        return print(&answer, true);
    }
    let sums = answer.lines().map(serde_json::from_str).collect::<Result<Vec<Told>, _>>()?;
    if let (Some(folder), Some(month)) = (into, month) {
        return keep(&folder.join(format!("usage-{month}.csv")), &table(&sums));
    }
    print(&if csv { table(&sums) } else { readable(&sums) }, true)
}

/// Where the table was written.
#[derive(Serialize)]
struct Kept<'a> {
    file: &'a Path,
    lines: usize,
}

/// Writes a file as a whole, durably.
fn keep(file: &Path, table: &str) -> Result<()> {
    let unfinished = file.with_added_extension("unfinished");
    let write = || -> std::io::Result<()> {
        let mut written = File::create(&unfinished)?;
        written.write_all(table.as_bytes())?;
        written.sync_all()?;
        std::fs::rename(&unfinished, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    print_line(&Kept { file, lines: table.lines().count().saturating_sub(1) })
}

/// A line of the answer.
#[derive(Deserialize)]
struct Told {
    account_id: String,
    region: String,
    #[serde(default)]
    period: Option<String>,
    #[serde(default)]
    billing_group: Option<String>,
    #[serde(flatten)]
    amounts: Amounts,
}

/// Answers the request.
pub(crate) async fn answer(
    metadata: &dyn Metadata,
    account: Option<AccountId>,
    days: Days,
    by: &[By],
) -> Result<Vec<Line>> {
    let mut rows = Vec::new();
    for scope in
        scopes(metadata).await?.into_iter().filter(|scope| account.is_none_or(|id| scope.account == id))
    {
        rows.extend(summary::read(metadata, scope, days).await?);
    }
    Ok(summary::summed(rows, by).into_iter().map(|sum: Sum| Line::Usage(Box::new(sum))).collect())
}

async fn scopes(metadata: &dyn Metadata) -> Result<Vec<Scope>> {
    match metadata.query(Query::new(Scope::CLUSTER, QueryKind::Scopes)).await.context("the metadata store")? {
        QueryReply::Scopes(scopes) => Ok(scopes),
        _ => bail!("an answer of another kind"),
    }
}

/// A line for each sum and unit that was used. No value holds a comma or a quote: names and periods have neither.
fn table(sums: &[Told]) -> String {
    let mut text =
        "account_id,region,period,billing_group,unit,quantity,aws_component,aws_dimension\n".to_owned();
    for Told { account_id, region, period, billing_group, amounts } in sums {
        let (period, group) =
            (period.as_deref().unwrap_or_default(), billing_group.as_deref().unwrap_or_default());
        for Priced { unit, component, dimension, quantity } in summary::priced(amounts) {
            if quantity > 0 {
                text += &format!(
                    "{account_id},{region},{period},{group},{unit},{quantity},{component},{dimension}\n"
                );
            }
        }
    }
    text
}

/// The sums for people.
fn readable(sums: &[Told]) -> String {
    let head = [
        "ACCOUNT",
        "REGION",
        "PERIOD",
        "BILLING GROUP",
        "MINUTES",
        "MESSAGES",
        "RULES",
        "ACTIONS",
        "SHADOW",
        "REGISTRY",
    ];
    let row = |told: &Told| {
        let Told { account_id, region, period, billing_group, amounts } = told;
        let text =
            |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).unwrap_or("-".to_owned());
        let [minutes, messages, rules, actions, shadow, registry] =
            summary::priced(amounts).map(|priced| priced.quantity.to_string());
        let whose = (account_id.clone(), region.clone());
        let (period, group) = (text(period), text(billing_group));
        [whose.0, whose.1, period, group, minutes, messages, rules, actions, shadow, registry]
    };
    let rows: Vec<_> = [head.map(str::to_owned)].into_iter().chain(sums.iter().map(row)).collect();
    columns::aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_a_line_for_each_unit_that_was_used() {
        let told = Told {
            account_id: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            period: Some("2026-01".to_owned()),
            billing_group: Some("line-1".to_owned()),
            amounts: Amounts { messages: 3, registry_operations: 2, ..Amounts::NONE },
        };
        let text = table(&[told]);
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "123456789012,us-east-1,2026-01,line-1,messages,3,Messaging,messages (metered in 5 KB)",
                "123456789012,us-east-1,2026-01,line-1,registry_operations,2,Device Shadow and registry,operations (metered in 1 KB)",
            ]
        );
    }
}
