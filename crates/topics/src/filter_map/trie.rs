//! A trie over the levels of filters with wildcards, kept small: nodes are numbers, all literal edges share
//! one hash table keyed by (node, level), and the part of a filter that it shares with no other one is not
//! spread over nodes but kept as the tail of its leaf.
//!
//! A look-up visits the nodes whose path matches the topic: at most two per visited node (the literal level
//! and `+`), and never more than there are. Nothing recurses.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use slab::Slab;

use super::Options;
use super::shards::Shards;
use super::short::Short;
use crate::levels::{Levels, match_levels};

const ROOT: usize = 0;

/// Where an edge leads, packed into one word: the lowest bit tells leaf from node, the others are the slab
/// key plus one, 0 for nowhere. Keys stay below 2³⁰: so many leaves would take 50 GB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Child(u32);

enum Target {
    Nothing,
    Node(usize),
    Leaf(usize),
}

impl Child {
    fn node(key: usize) -> Self {
        Self(((key as u32) << 1) + 2)
    }

    fn leaf(key: usize) -> Self {
        Self(((key as u32) << 1) + 3)
    }

    fn target(self) -> Target {
        match (self.0 >> 1, self.0 & 1) {
            (0, _) => Target::Nothing,
            (key, 0) => Target::Node(key as usize - 1),
            (key, _) => Target::Leaf(key as usize - 1),
        }
    }
}

/// One point where filters part. Its literal children are in [`Trie::edges`].
#[derive(Default)]
struct Node {
    /// Below `+`.
    plus: Child,
    /// The filter that goes on with `#` and so ends.
    hash: Child,
    /// The filter that ends here.
    end: Child,
    /// Number of edges in [`Trie::edges`].
    literals: u32,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literals == 0 && [self.plus, self.hash, self.end] == [Child::default(); 3]
    }
}

struct Edge {
    parent: u32,
    child: Child,
    level: Short,
}

struct Leaf<T> {
    /// The levels between the edge that leads here and the end of the filter.
    tail: Option<Short>,
    value: T,
}

impl<T> Leaf<T> {
    fn tail(&self) -> Option<&[u8]> {
        self.tail.as_ref().map(Short::as_bytes)
    }
}

/// One step down: the next level of a filter, or `None` for its end.
type Step<'a> = Option<&'a [u8]>;

pub(super) struct Trie<T> {
    nodes: Slab<Node>,
    leaves: Slab<Leaf<T>>,
    edges: Shards<Edge>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Self { nodes, leaves: Slab::new(), edges: Shards::default(), hasher: DefaultHashBuilder::default() }
    }
}

impl<T> Trie<T> {
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    #[cfg(test)]
    pub(super) fn is_pruned(&self) -> bool {
        self.leaves.is_empty() && self.edges.is_empty() && self.nodes.len() == 1
    }

    pub(super) fn get(&self, filter: &str) -> Option<&T> {
        let leaf = self.find(filter, |_, _| {})?;
        self.leaves.get(leaf).map(|l| &l.value)
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut T> {
        let leaf = self.find(filter, |_, _| {})?;
        self.leaves.get_mut(leaf).map(|l| &mut l.value)
    }

    pub(super) fn insert(&mut self, filter: &str, value: T) -> Option<T> {
        let mut node = ROOT;
        let mut levels = Levels::of(filter.as_bytes());
        loop {
            let step = levels.next();
            match self.child(node, step).target() {
                Target::Nothing => {
                    let tail = levels.rest().map(Short::from);
                    let leaf = self.leaves.insert(Leaf { tail, value });
                    self.set_child(node, step, Child::leaf(leaf));
                    return None;
                }
                Target::Node(next) => node = next,
                Target::Leaf(leaf) => match self.leaves.get_mut(leaf) {
                    Some(leaf) if leaf.tail() == levels.rest() => {
                        return Some(std::mem::replace(&mut leaf.value, value));
                    }
                    _ => node = self.split(node, step, leaf),
                },
            }
        }
    }

    pub(super) fn remove(&mut self, filter: &str) -> Option<T> {
        let mut path = Vec::new();
        let leaf = self.find(filter, |node, step| path.push((node, step)))?;
        let removed = self.leaves.try_remove(leaf)?;
        while let Some((node, step)) = path.pop() {
            self.clear_child(node, step);
            if node == ROOT || !self.nodes.get(node).is_some_and(Node::is_empty) {
                break;
            }
            self.nodes.try_remove(node);
        }
        Some(removed.value)
    }

    pub(super) fn matches(&self, topic: &str, options: &Options, found: &mut impl FnMut(&T)) {
        if self.leaves.is_empty() {
            return;
        }
        let parent = options.hash_matches_parent;
        let dollar = topic.starts_with('$');
        let mut pending = Vec::new();
        let mut next = Some((ROOT, Levels::of(topic.as_bytes())));
        while let Some((id, mut levels)) = next.or_else(|| pending.pop()) {
            next = None;
            let Some(node) = self.nodes.get(id) else { continue };
            // Wildcards of the first level match no topic that starts with `$` [MQTT-4.7.2-1].
            let wild = !(dollar && id == ROOT);
            if wild && (parent || !levels.is_end()) {
                self.descend(node.hash, Levels::after(None), parent, found);
            }
            let Some(level) = levels.next() else {
                self.descend(node.end, levels, parent, found);
                continue;
            };
            if wild && let Some(child) = self.descend(node.plus, levels, parent, found) {
                next = Some((child, levels));
            }
            if node.literals > 0
                && let Some(child) = self.descend(self.literal(id, level), levels, parent, found)
            {
                pending.extend(next.replace((child, levels)));
            }
        }
    }

    /// Reports the leaf that `child` is when its tail matches the levels that are left; gives the node that
    /// it is.
    fn descend(
        &self,
        child: Child,
        left: Levels<'_>,
        parent: bool,
        found: &mut impl FnMut(&T),
    ) -> Option<usize> {
        match child.target() {
            Target::Nothing => None,
            Target::Node(node) => Some(node),
            Target::Leaf(key) => {
                let leaf = self.leaves.get(key)?;
                if match_levels(Levels::after(leaf.tail()), left, parent) {
                    found(&leaf.value);
                }
                None
            }
        }
    }

    /// The leaf of `filter`; `passed` is told each step on the way.
    fn find<'a>(&self, filter: &'a str, mut passed: impl FnMut(usize, Step<'a>)) -> Option<usize> {
        let mut node = ROOT;
        let mut levels = Levels::of(filter.as_bytes());
        loop {
            let step = levels.next();
            passed(node, step);
            match self.child(node, step).target() {
                Target::Nothing => return None,
                Target::Node(next) => node = next,
                Target::Leaf(key) => {
                    return (self.leaves.get(key)?.tail() == levels.rest()).then_some(key);
                }
            }
        }
    }

    /// Puts a node between `node` and the leaf one `step` below it, whose tail gets one level shorter.
    fn split(&mut self, node: usize, step: Step<'_>, leaf: usize) -> usize {
        let between = self.nodes.insert(Node::default());
        let tail = self.leaves.get_mut(leaf).and_then(|l| l.tail.take());
        let mut levels = Levels::after(tail.as_ref().map(Short::as_bytes));
        let first = levels.next();
        if let Some(leaf) = self.leaves.get_mut(leaf) {
            leaf.tail = levels.rest().map(Short::from);
        }
        self.set_child(between, first, Child::leaf(leaf));
        self.set_child(node, step, Child::node(between));
        between
    }

    fn child(&self, node: usize, step: Step<'_>) -> Child {
        let Some(at) = self.nodes.get(node) else { return Child::default() };
        match step {
            None => at.end,
            Some(b"+") => at.plus,
            Some(b"#") => at.hash,
            Some(level) => self.literal(node, level),
        }
    }

    fn literal(&self, node: usize, level: &[u8]) -> Child {
        let hash = hash(&self.hasher, node, level);
        let edge = self.edges.find(hash, |e| e.is(node, level));
        edge.map_or(Child::default(), |e| e.child)
    }

    fn set_child(&mut self, node: usize, step: Step<'_>, child: Child) {
        let Some(at) = self.nodes.get_mut(node) else { return };
        match step {
            None => at.end = child,
            Some(b"+") => at.plus = child,
            Some(b"#") => at.hash = child,
            Some(level) => {
                let hash = hash(&self.hasher, node, level);
                if let Some(edge) = self.edges.find_mut(hash, |edge| edge.is(node, level)) {
                    edge.child = child;
                    return;
                }
                at.literals += 1;
                let edge = Edge { parent: node as u32, child, level: level.into() };
                self.edges.insert(hash, edge, |edge| hash_edge(&self.hasher, edge));
            }
        }
    }

    fn clear_child(&mut self, node: usize, step: Step<'_>) {
        let Some(at) = self.nodes.get_mut(node) else { return };
        match step {
            None => at.end = Child::default(),
            Some(b"+") => at.plus = Child::default(),
            Some(b"#") => at.hash = Child::default(),
            Some(level) => {
                let hash = hash(&self.hasher, node, level);
                if self.edges.remove(hash, |edge| edge.is(node, level)).is_some() {
                    at.literals -= 1;
                }
            }
        }
    }
}

impl Edge {
    fn is(&self, node: usize, level: &[u8]) -> bool {
        self.parent == node as u32 && self.level.as_bytes() == level
    }
}

fn hash(hasher: &DefaultHashBuilder, node: usize, level: &[u8]) -> u64 {
    hasher.hash_one((node as u32, level))
}

fn hash_edge(hasher: &DefaultHashBuilder, edge: &Edge) -> u64 {
    hasher.hash_one((edge.parent, edge.level.as_bytes()))
}
