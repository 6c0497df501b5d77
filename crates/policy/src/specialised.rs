//! The hot path: the policies of one connection, reduced to what the name of a resource still decides.

use crate::action::Action;
use crate::context::Context;
use crate::document::{Effect, Statement};
use crate::evaluate::{Verdict, conditions_hold, fires_unresolved};
use crate::pattern::{self, ANY, ONE};
use crate::resource::Resource;
use crate::set::PolicySet;
use crate::variable::Scope;

/// The answers of a [`PolicySet`] for one action of one connection. Variables and conditions are settled, the
/// ARN's beginning is matched; names are held against what is left of the patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specialised {
    denies: Names,
    allows: Names,
}

impl PolicySet {
    /// Settles everything that depends on the connection alone. [`Specialised::decide`] then answers for each
    /// name as [`evaluate`](Self::evaluate) does for `arn:aws:iot:{region}:{account}:{kind of the
    /// action}/{name}`. It holds as long as the context and the policies do. For an action on `*` only, the
    /// name has no bearing.
    pub fn specialise(
        &self,
        context: &Context<'_>,
        action: Action,
        region: &str,
        account: &str,
    ) -> Specialised {
        let scope = Scope { action: action.into(), context, settings: self.settings() };
        let target = match action.resource_kind() {
            Some(kind) => Target::Names(Resource::Arn { region, account, kind, name: "" }.to_arn()),
            None => Target::Whole(Resource::Any.to_arn()),
        };
        let (mut denies, mut allows) = (Gathered::default(), Gathered::default());
        for (_, statement) in self.statements() {
            if statement.actions.matches(scope.action) && conditions_hold(statement, &scope) {
                let names = match statement.effect {
                    Effect::Deny => &mut denies,
                    Effect::Allow => &mut allows,
                };
                names.add(statement, &scope, &target);
            }
        }
        Specialised { denies: denies.names(), allows: allows.names() }
    }
}

impl Specialised {
    /// Decides for a name, such as a topic. Allocates nothing.
    pub fn decide(&self, name: &str) -> Verdict {
        if self.denies.contain(name) {
            return Verdict::ExplicitDeny;
        }
        Verdict::of(self.allows.contain(name), false)
    }

    /// The verdict, if it is known to be the same for every name.
    pub fn always(&self) -> Option<Verdict> {
        match (&self.denies, &self.allows) {
            (Names::Every, _) => Some(Verdict::ExplicitDeny),
            (Names::None, Names::Every) => Some(Verdict::Allow),
            (Names::None, Names::None) => Some(Verdict::ImplicitDeny),
            _ => None,
        }
    }

    /// Whether every name is refused, explicitly or not: there is no point in asking.
    pub fn allows_nothing(&self) -> bool {
        self.denies == Names::Every || self.allows == Names::None
    }
}

/// What patterns are held against.
enum Target {
    /// The beginning of an ARN that names complete.
    Names(String),
    /// A resource in full.
    Whole(String),
}

impl Target {
    fn rest_of(&self, compiled: &[u8]) -> Vec<Rest> {
        match self {
            Self::Names(prefix) => pattern::remainders(compiled, prefix).into_iter().map(Rest::new).collect(),
            Self::Whole(resource) if pattern::matches(compiled, resource.as_str()) => vec![Rest::new(&[ANY])],
            Self::Whole(_) => Vec::new(),
        }
    }
}

/// A set of names. Small where no pattern decides, as there are several for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    None,
    Every,
    Some(Box<Patterns>),
}

/// What decides which names are in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Patterns {
    /// Those that match any of these.
    matching: Box<[Rest]>,
    /// And for each of these, those that match none of it (`NotResource`).
    others: Box<[Vec<Rest>]>,
}

impl Names {
    fn contain(&self, name: &str) -> bool {
        let any = |rests: &[Rest]| rests.iter().any(|rest| rest.matches(name));
        match self {
            Self::None => false,
            Self::Every => true,
            Self::Some(of) => any(&of.matching) || of.others.iter().any(|rests| !any(rests)),
        }
    }
}

/// A set of names while the statements that it is made of are gone through.
#[derive(Default)]
struct Gathered {
    every: bool,
    matching: Vec<Rest>,
    others: Vec<Vec<Rest>>,
}

impl Gathered {
    fn add(&mut self, statement: &Statement, scope: &Scope<'_>, target: &Target) {
        let element = &statement.resources;
        let rest =
            element.patterns.iter().flat_map(|template| target.rest_of(&template.resolve(scope).pattern));
        let rest = rest.collect::<Vec<_>>();
        let is_every = rest.contains(&Rest::Every);
        match element.negated {
            _ if fires_unresolved(element, scope, statement.effect) => self.every = true,
            false if is_every => self.every = true,
            false => rest.into_iter().for_each(|rest| self.add_matching(rest)),
            true if is_every => {}
            true if rest.is_empty() => self.every = true,
            true => self.others.push(rest),
        }
    }

    fn add_matching(&mut self, rest: Rest) {
        if !self.matching.contains(&rest) {
            self.matching.push(rest);
        }
    }

    /// The set, with nothing kept that decides nothing.
    fn names(self) -> Names {
        let Self { every, matching, others } = self;
        match every {
            true => Names::Every,
            false if matching.is_empty() && others.is_empty() => Names::None,
            false => Names::Some(Box::new(Patterns { matching: matching.into(), others: others.into() })),
        }
    }
}

/// What is left of a pattern after the ARN's beginning, in the form that is quickest to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rest {
    /// `*`
    Every,
    /// No wildcard.
    Exactly(Box<[u8]>),
    /// One `*`, at the end.
    Beginning(Box<[u8]>),
    /// Anything else: a compiled pattern.
    Pattern(Box<[u8]>),
}

impl Rest {
    fn new(compiled: &[u8]) -> Self {
        let is_literal = |bytes: &[u8]| bytes.iter().all(|byte| *byte < ONE);
        match compiled.split_last() {
            _ if !compiled.is_empty() && compiled.iter().all(|byte| *byte == ANY) => Self::Every,
            Some((&ANY, beginning)) if is_literal(beginning) => Self::Beginning(beginning.into()),
            _ if is_literal(compiled) => Self::Exactly(compiled.into()),
            _ => Self::Pattern(compiled.into()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Exactly(text) => **text == *name.as_bytes(),
            Self::Beginning(text) => name.as_bytes().starts_with(text),
            Self::Pattern(compiled) => pattern::matches(compiled, name),
        }
    }
}

#[cfg(test)]
mod tests;
