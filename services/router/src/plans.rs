//! A lane's plans, by scope and topic: looked up without a clone or a shared counter, so that cores do not slow each other.

use std::mem;
use std::sync::Arc;

use fleethaven_types::{Message, Scope, Utf8Bytes};
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use rustc_hash::FxHashMap;

use crate::plan::Plan;
use crate::router::Router;
use crate::tables::ScopeTables;

/// What a lane remembers, in units of [`cost`], some 64 bytes each: 65,000 topics, fewer of long ones or with many receivers.
/// At the bound everything is forgotten, which costs one computation per topic in use.
const BOUND: usize = 1 << 19;
/// A plan's own share of the bound, apart from its topic and its receivers.
const BASE_COST: usize = 8;
/// Bytes of a topic that count as one unit.
const UNIT: usize = 64;

/// The plans of one lane.
#[derive(Default)]
pub(crate) struct Plans {
    /// The scope of the last publish: nearly always that of the next one.
    current: Option<ScopePlans>,
    others: FxHashMap<Scope, ScopePlans>,
    cost: usize,
}

struct ScopePlans {
    tables: Arc<ScopeTables>,
    /// Topics come from clients: the hasher is a seeded one.
    plans: HashMap<Utf8Bytes, Plan>,
}

impl Plans {
    /// The plan for `message`'s topic as of now.
    pub(crate) fn plan(&mut self, router: &Router, message: &Message) -> &Plan {
        if self.cost >= BOUND {
            *self = Self::default();
        }
        let Self { current, others, cost: total } = self;
        let scope = enter(current, others, router, message.publisher.scope);
        let version = scope.tables.version();
        let compute = || {
            router.metrics.plans_computed.inc();
            Plan::compute(&scope.tables, &message.topic, &router.options.behaviour)
        };
        let cost = |plan: &Plan| cost(&message.topic, plan);
        match scope.plans.entry_ref(message.topic.as_str()) {
            EntryRef::Occupied(known) => {
                let plan = known.into_mut();
                if plan.version != version {
                    *total -= cost(plan);
                    *plan = compute();
                    *total += cost(plan);
                }
                plan
            }
            // The key is a copy: it must not keep the receive buffer of the packet alive.
            EntryRef::Vacant(vacant) => {
                let plan = compute();
                *total += cost(&plan);
                vacant.insert(plan)
            }
        }
    }
}

fn cost(topic: &str, plan: &Plan) -> usize {
    BASE_COST + topic.len() / UNIT + plan.weight()
}

/// Makes `wanted` the current scope.
fn enter<'a>(
    current: &'a mut Option<ScopePlans>,
    others: &mut FxHashMap<Scope, ScopePlans>,
    router: &Router,
    wanted: Scope,
) -> &'a mut ScopePlans {
    let open = || ScopePlans { tables: router.scope(wanted), plans: HashMap::new() };
    let current = current.get_or_insert_with(open);
    if current.tables.scope != wanted {
        let next = others.remove(&wanted).unwrap_or_else(open);
        let left = mem::replace(current, next);
        others.insert(left.tables.scope, left);
    }
    current
}

#[cfg(test)]
mod tests;
