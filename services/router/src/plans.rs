//! A lane's plans, by scope and topic: looked up without a clone or a shared counter, so that cores do not slow each other.

use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

use fleethaven_types::{Message, Scope, Utf8Bytes};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use rustc_hash::FxHashMap;

use crate::plan::Plan;
use crate::router::Router;
use crate::tables::ScopeTables;

/// What a lane remembers, in units of [`cost`], some 64 bytes each: 65,000 topics, fewer of long ones or with many receivers.
const BOUND: usize = 1 << 19;
/// Parts, each with its share of the bound. At that, all of one part is forgotten, which costs one computation for each of its
/// topics in use; and a table that grows moves no more than one part. Either holds up live traffic for a moment only.
const PARTS: usize = 64;
/// A plan's own share of the bound, apart from its topic and its receivers.
const BASE_COST: usize = 8;
/// Bytes of a topic that count as one unit.
const UNIT: usize = 64;

/// The plans of one lane.
pub(crate) struct Plans {
    /// The scope of the last publish: nearly always that of the next one.
    current: Option<Arc<ScopeTables>>,
    others: FxHashMap<Scope, Arc<ScopeTables>>,
    parts: Box<[Part; PARTS]>,
    /// Topics come from clients: the hasher is a seeded one.
    hasher: DefaultHashBuilder,
}

#[derive(Default)]
struct Part {
    known: HashTable<Known>,
    cost: usize,
}

/// A topic and its plan.
struct Known {
    scope: Scope,
    topic: Utf8Bytes,
    plan: Plan,
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            current: None,
            others: FxHashMap::default(),
            parts: Box::new(std::array::from_fn(|_| Part::default())),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Plans {
    /// The plan for `message`'s topic as of now.
    #[expect(clippy::indexing_slicing, reason = "a remainder of the number of parts")]
    pub(crate) fn plan(&mut self, router: &Router, message: &Message) -> &Plan {
        let Self { current, others, parts, hasher } = self;
        let (scope, topic) = (message.publisher.scope, &message.topic);
        let tables = enter(current, others, router, scope);
        let version = tables.version();
        let compute = || {
            router.metrics.plans_computed.inc();
            Plan::compute(tables, topic, &router.options.behaviour)
        };
        let hash = hasher.hash_one(topic.as_str());
        // The table looks at the lowest and the highest bits.
        let Part { known, cost: total } = &mut parts[(hash >> 32) as usize % PARTS];
        if *total >= BOUND / PARTS {
            (*known, *total) = (HashTable::new(), 0);
        }
        let is_it = |known: &Known| known.topic == *topic && known.scope == scope;
        match known.entry(hash, is_it, |known| hasher.hash_one(known.topic.as_str())) {
            Entry::Occupied(found) => {
                let plan = &mut found.into_mut().plan;
                if plan.version != version {
                    *total -= cost(topic, plan);
                    *plan = compute();
                    *total += cost(topic, plan);
                }
                plan
            }
            Entry::Vacant(vacant) => {
                let plan = compute();
                *total += cost(topic, &plan);
                // A copy: it must not keep the receive buffer of the packet alive.
                let known = Known { scope, topic: topic.compact(), plan };
                &vacant.insert(known).into_mut().plan
            }
        }
    }
}

fn cost(topic: &str, plan: &Plan) -> usize {
    BASE_COST + topic.len() / UNIT + plan.weight()
}

/// Makes `wanted` the current scope.
fn enter<'a>(
    current: &'a mut Option<Arc<ScopeTables>>,
    others: &mut FxHashMap<Scope, Arc<ScopeTables>>,
    router: &Router,
    wanted: Scope,
) -> &'a ScopeTables {
    let current = current.get_or_insert_with(|| router.scope(wanted));
    if current.scope != wanted {
        let next = others.remove(&wanted).unwrap_or_else(|| router.scope(wanted));
        let left = mem::replace(current, next);
        others.insert(left.scope, left);
    }
    current
}

#[cfg(test)]
mod tests;
