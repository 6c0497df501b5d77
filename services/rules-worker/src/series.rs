//! What is counted by rule is kept for as long as there is the rule: rules come and go, and the series of all that ever were would gather.

use std::collections::BTreeSet;

use fleethaven_types::AccountId;
use parking_lot::Mutex;

use crate::metrics::Metrics;

/// The series of a rule, which its versions share; they end with the last of these.
pub(crate) struct Series {
    metrics: Metrics,
    account: String,
    rule: String,
    /// The types of the actions that it has had.
    actions: Mutex<BTreeSet<&'static str>>,
}

impl Series {
    pub(crate) fn new(metrics: &Metrics, account: AccountId, rule: &str) -> Self {
        let (account, rule) = (account.to_string(), rule.to_owned());
        Self { metrics: metrics.clone(), account, rule, actions: Mutex::default() }
    }

    /// A version of the rule has actions of these types.
    pub(crate) fn will_count(&self, actions: impl Iterator<Item = &'static str>) {
        self.actions.lock().extend(actions);
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let actions = std::mem::take(self.actions.get_mut());
        self.metrics.forget([&self.account, &self.rule], &actions);
    }
}
