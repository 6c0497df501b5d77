//! The typed tree of a statement. Chains of operators are lists, so that depth is bounded by brackets alone.

use crate::{
    functions::{CompiledPattern, Function},
    value::{Text, Value},
};

/// A value to compute.
#[derive(Debug)]
pub(crate) enum Expr {
    Literal(Value),
    /// A member of the payload or, in a nested query, of the element.
    Attribute(Text),
    /// `*`: the payload or the element.
    Star,
    /// `*` where only the payload's bytes matter: the argument of `encode`.
    PayloadBytes,
    /// `@name`, by its place in SET.
    Variable(usize),
    Path {
        base: Box<Expr>,
        steps: Vec<Step>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// Operands of AND.
    And(Vec<Expr>),
    /// Operands of OR.
    Or(Vec<Expr>),
    /// Left-associative comparisons.
    Compare {
        first: Box<Expr>,
        rest: Vec<(CompareOp, Expr)>,
    },
    /// Left-associative arithmetic of one precedence.
    Arithmetic {
        first: Box<Expr>,
        rest: Vec<(ArithmeticOp, Expr)>,
    },
    Call(Call),
    Cast {
        operand: Box<Expr>,
        target: CastType,
    },
    Case(Box<Case>),
    Exists(Box<Query>),
    Query(Box<Query>),
    Array(Vec<Expr>),
    Object(Vec<(Text, Expr)>),
}

/// A step of a path.
#[derive(Debug)]
pub(crate) enum Step {
    /// `.name`
    Member(Text),
    /// `[expr]`
    Index(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Target of CAST, the spellings of one type folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CastType {
    String,
    Int,
    /// Decimal of double precision.
    Double,
    Decimal,
    Boolean,
}

/// A function applied to arguments.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) arguments: Vec<Expr>,
    /// The regular expression of the functions that take one.
    pub(crate) pattern: CompiledPattern,
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) operand: Expr,
    pub(crate) branches: Vec<(Expr, Expr)>,
    pub(crate) otherwise: Option<Expr>,
}

/// What SELECT builds.
#[derive(Debug)]
pub(crate) struct Select {
    /// SELECT VALUE: the one item's value is the result.
    pub(crate) value: bool,
    pub(crate) items: Vec<Item>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) expr: Expr,
    pub(crate) name: Name,
}

/// Where the value of an item goes.
#[derive(Debug)]
pub(crate) enum Name {
    /// `*` without alias: the members are copied.
    Splice,
    /// A member, nested for a dotted alias.
    Path(Vec<Text>),
}

/// A nested SELECT.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) select: Select,
    pub(crate) source: Expr,
    pub(crate) alias: Option<Text>,
    pub(crate) condition: Option<Expr>,
}

impl Step {
    /// The name of `.name`.
    pub(crate) fn member(&self) -> Option<&Text> {
        match self {
            Self::Member(name) => Some(name),
            Self::Index(_) => None,
        }
    }
}

impl Select {
    /// Whether the whole source is the result: `*` alone without alias.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self.items.as_slice(), [Item { expr: Expr::Star, name: Name::Splice }])
    }
}
