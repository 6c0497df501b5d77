//! How much of what AWS bills for was used (aws.amazon.com/iot-core/pricing, "additional metering details").

use std::ops::AddAssign;

use fleethaven_types::Scope;
use serde::{Deserialize, Serialize};

/// How much was used, in AWS's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amounts {
    /// Minutes of MQTT connections, each one that began.
    pub connection_minutes: u64,
    /// Messages in pieces of 5 KB.
    pub messages: u64,
    /// Rules that looked at a message, by its pieces of 5 KB.
    pub rules_triggered: u64,
    /// Actions that rules ran, one for each rule at least, by the message's pieces of 5 KB.
    pub actions_executed: u64,
    /// Operations on shadows, in pieces of 1 KB.
    pub shadow_operations: u64,
    /// Operations on things, their types and groups, in pieces of 1 KB.
    pub registry_operations: u64,
}

impl Amounts {
    /// Nothing.
    pub const NONE: Self = Self {
        connection_minutes: 0,
        messages: 0,
        rules_triggered: 0,
        actions_executed: 0,
        shadow_operations: 0,
        registry_operations: 0,
    };

    /// Whether nothing was used.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, more: Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.connection_minutes, more.connection_minutes);
        add(&mut self.messages, more.messages);
        add(&mut self.rules_triggered, more.rules_triggered);
        add(&mut self.actions_executed, more.actions_executed);
        add(&mut self.shadow_operations, more.shadow_operations);
        add(&mut self.registry_operations, more.registry_operations);
    }
}

/// What was used by an account in a region, or by one of its billing groups, on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Who used it.
    pub scope: Scope,
    /// The billing group of the thing that used it; `None`: of none.
    pub billing_group: Option<String>,
    /// The day, UTC: days since 1970-01-01.
    pub day: u32,
    /// How much.
    pub amounts: Amounts,
}

/// What a process has counted since its last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportUsage {
    /// Names the process from its start to its end, among all there ever were: at most 64 letters, digits and hyphens.
    pub source: String,
    /// 1 for its first report, and one more for each. One that was added is not added again.
    pub number: u64,
    /// What it counted: at most [`ROWS`](crate::usage::ROWS).
    pub rows: Vec<UsageRow>,
    /// No further report will follow.
    pub last: bool,
}

/// Which days are asked for, and which page of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageQuery {
    /// The first day, in days since 1970-01-01.
    pub from: u32,
    /// The last one.
    pub to: u32,
    /// Rows above this one, by day and billing group.
    pub after: Option<(u32, String)>,
}
