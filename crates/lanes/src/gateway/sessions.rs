//! The sessions of a gateway core and their subscriptions, as often as a router has to be told of them.

use std::collections::BTreeMap;

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_storage::Subscription;
use fleethaven_topics::{Depths, Places};
use fleethaven_types::{Scope, Utf8Bytes};

/// A session with a connection on this core.
pub(crate) struct Attached {
    pub(crate) scope: Scope,
    pub(crate) persistent: bool,
    pub(crate) address: Address,
    pub(crate) credit: Credit,
    pub(crate) owner: OwnerNumber,
    pub(crate) subscriptions: BTreeMap<Utf8Bytes, Placed>,
}

/// A subscription, and which routers must hold it.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) subscription: Subscription,
    pub(crate) places: Places,
}

impl Attached {
    /// What it can take as the member of groups; further changes are asked to be told of.
    pub(crate) fn room(&self) -> i32 {
        if self.subscriptions.keys().any(|filter| filter.starts_with("$share/")) {
            self.credit.want();
        }
        self.credit.room()
    }

    /// Notes a subscription; whether its filter was held already.
    pub(crate) fn subscribe(&mut self, subscription: &Subscription, depths: &Depths) -> bool {
        let places = depths.places(&self.scope, &subscription.filter);
        // The record must not keep the receive buffer of the packet alive.
        let filter = subscription.filter.compact();
        let subscription = Subscription { filter: filter.clone(), ..subscription.clone() };
        self.subscriptions.insert(filter, Placed { subscription, places }).is_some()
    }
}
