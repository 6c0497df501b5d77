//! What was used, as it is asked for: of which days, and summed by what.

use std::collections::BTreeMap;

use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::Error;
use fleethaven_registry::shapes::{Amounts, UsageQuery, UsageRow};
use fleethaven_registry::usage::PAGE;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Scope;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};

/// Days from one to another, both included; UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first, in days since 1970-01-01.
    pub from: u32,
    /// The last.
    pub to: u32,
}

/// Something beside account and region that sums are parted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The billing group of the thing.
    BillingGroup,
    /// The day.
    Day,
    /// The month.
    Month,
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// The account.
    pub account_id: String,
    /// The region.
    pub region: String,
    /// `2026-01-31` or `2026-01`, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// The billing group, where asked for; empty for what no thing of a billing group has used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_group: Option<String>,
    /// How much.
    #[serde(flatten)]
    pub amounts: Amounts,
}

impl By {
    /// Every one, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("billing-group", Self::BillingGroup), ("day", Self::Day), ("month", Self::Month)];

    /// The one that `text` names.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, by)| by)
    }
}

impl Days {
    /// Of `2026-01-31` to `2026-02-28`, or whole months: `2026-01`. Without a beginning those of the month of `today`; without an
    /// end those that follow.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(from: Option<&str>, to: Option<&str>, today: u32) -> Result<Self, String> {
        let from = match from {
            Some(text) => first_day(text)?,
            None => date_of(today).first_of_month(),
        };
        let to = to.map(last_day).transpose()?;
        let to = match to {
            Some(day) => number(day).ok_or("the last day is before 1970")?,
            None => u32::MAX,
        };
        let from = number(from).ok_or("the first day is before 1970")?;
        if from > to {
            return Err("the last day is before the first".to_owned());
        }
        Ok(Self { from, to })
    }

    /// A month: `2026-01`.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_month(text: &str) -> Result<Self, String> {
        month(text)?;
        Self::read(Some(text), Some(text), 0)
    }
}

/// The month before that of `today`, such as `2026-01`.
pub fn month_before(today: u32) -> String {
    let first = date_of(today).first_of_month();
    first.yesterday().unwrap_or(EPOCH).strftime("%Y-%m").to_string()
}

fn month(text: &str) -> Result<Date, String> {
    let day = (text.len() == 7).then(|| format!("{text}-01").parse().ok()).flatten();
    day.ok_or_else(|| format!("'{text}' is no month, such as 2026-01"))
}

fn first_day(text: &str) -> Result<Date, String> {
    day(text).or_else(|_| month(text)).map_err(|_| no_day(text))
}

fn last_day(text: &str) -> Result<Date, String> {
    day(text).or_else(|_| Ok(month(text)?.last_of_month())).map_err(|_: String| no_day(text))
}

fn day(text: &str) -> Result<Date, String> {
    if text.len() != 10 {
        return Err(no_day(text));
    }
    text.parse().map_err(|_| no_day(text))
}

fn no_day(text: &str) -> String {
    format!("'{text}' is neither a day, such as 2026-01-31, nor a month, such as 2026-01")
}

const EPOCH: Date = date(1970, 1, 1);

fn number(day: Date) -> Option<u32> {
    u32::try_from(day.since(EPOCH).ok()?.get_days()).ok()
}

fn date_of(day: u32) -> Date {
    EPOCH.checked_add(i64::from(day).days()).unwrap_or(Date::MAX)
}

/// What the account of `scope` has used in its region.
///
/// # Errors
/// Those of the metadata store.
pub async fn read(metadata: &dyn Metadata, scope: Scope, days: Days) -> Result<Vec<UsageRow>, Error> {
    let Days { from, to } = days;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let asked = UsageQuery { from, to, after };
        let reply = metadata.query(Query::new(scope, QueryKind::Usage(Box::new(asked)))).await?;
        let QueryReply::Usage(page) = reply else {
            return Err(Error::Unavailable("an answer of another kind".to_owned()));
        };
        let is_last = page.len() < PAGE;
        after = page.last().map(|row| (row.day, row.billing_group.clone().unwrap_or_default()));
        rows.extend(page);
        if is_last {
            return Ok(rows);
        }
    }
}

/// Sums by account, region and `by`, in that order.
pub fn summed(rows: Vec<UsageRow>, by: &[By]) -> Vec<Sum> {
    let mut sums = BTreeMap::<_, Amounts>::new();
    for UsageRow { scope, billing_group, day, amounts } in rows {
        let period = match (by.contains(&By::Day), by.contains(&By::Month)) {
            (true, _) => Some(date_of(day).to_string()),
            (false, true) => Some(date_of(day).strftime("%Y-%m").to_string()),
            (false, false) => None,
        };
        let group = by.contains(&By::BillingGroup).then(|| billing_group.unwrap_or_default());
        *sums.entry((scope, period, group)).or_default() += amounts;
    }
    let sum = |((scope, period, billing_group), amounts): ((Scope, _, _), _)| Sum {
        account_id: scope.account.to_string(),
        region: scope.region.to_string(),
        period,
        billing_group,
        amounts,
    };
    sums.into_iter().map(sum).collect()
}

/// What AWS's price list calls a unit.
pub struct Priced {
    /// Our name, as sums have it.
    pub unit: &'static str,
    /// The heading in AWS's price list.
    pub component: &'static str,
    /// What it has prices for.
    pub dimension: &'static str,
    /// How much.
    pub quantity: u64,
}

/// The units of `amounts` beside what AWS's price list calls them.
pub fn priced(amounts: &Amounts) -> [Priced; 6] {
    const SHADOW: &str = "Device Shadow and registry";
    const OPERATIONS: &str = "operations (metered in 1 KB)";
    let unit = |unit, component, dimension, quantity| Priced { unit, component, dimension, quantity };
    [
        unit("connection_minutes", "Connectivity", "minutes of connection", amounts.connection_minutes),
        unit("messages", "Messaging", "messages (metered in 5 KB)", amounts.messages),
        unit("rules_triggered", "Rules engine", "rules triggered (metered in 5 KB)", amounts.rules_triggered),
        unit(
            "actions_executed",
            "Rules engine",
            "actions executed (metered in 5 KB)",
            amounts.actions_executed,
        ),
        unit("shadow_operations", SHADOW, OPERATIONS, amounts.shadow_operations),
        unit("registry_operations", SHADOW, OPERATIONS, amounts.registry_operations),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_in_days_and_months() {
        let days = |from, to| Days::read(from, to, 20_000).map(|days| (days.from, days.to));
        assert_eq!(days(Some("1970-01-01"), Some("1970-01-02")), Ok((0, 1)));
        assert_eq!(days(Some("1970-02"), Some("1970-02")), Ok((31, 58)));
        // Day 20,000 is 2024-10-04.
        assert_eq!(days(None, None), Ok((19_997, u32::MAX)));
        assert_eq!(Days::of_month("2024-02").map(|days| days.to - days.from), Ok(28));
        for bad in ["1969-12-31", "2024-13", "yesterday", "2024-1-1", ""] {
            assert!(days(Some(bad), None).is_err(), "{bad}");
        }
        assert!(days(Some("2024-02-02"), Some("2024-02-01")).is_err());
        assert!(Days::of_month("2024-02-01").is_err());
        assert_eq!(month_before(20_000), "2024-09");
        assert_eq!(
            (month_before(365), month_before(370), month_before(0)),
            ("1970-12".into(), "1970-12".into(), "1969-12".into())
        );
    }

    #[test]
    fn sums_are_parted_by_what_is_asked_for() {
        let scope = Scope::CLUSTER;
        let row = |day, group: Option<&str>, messages| UsageRow {
            scope,
            billing_group: group.map(str::to_owned),
            day,
            amounts: Amounts { messages, ..Amounts::NONE },
        };
        let rows = vec![row(0, None, 1), row(0, Some("g"), 2), row(30, Some("g"), 4), row(31, Some("g"), 8)];
        let told = |by: &[By]| {
            let sums = summed(rows.clone(), by).into_iter();
            sums.map(|sum| (sum.period, sum.billing_group, sum.amounts.messages)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told(&[]), [(None, None, 15)]);
        assert_eq!(told(&[By::BillingGroup]), [(None, text(""), 1), (None, text("g"), 14)]);
        assert_eq!(told(&[By::Month]), [(text("1970-01"), None, 7), (text("1970-02"), None, 8)]);
        assert_eq!(told(&[By::Day]).len(), 3);
    }
}
