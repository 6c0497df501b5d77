//! Condition operators by name: `ForAllValues:StringNotEqualsIfExists` and the like.

/// An operator with its prefix and suffix taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) quantifier: Quantifier,
    pub(crate) test: Test,
    /// `Not`: true where the test is false.
    pub(crate) negated: bool,
    /// `IfExists`: true if the key is missing.
    pub(crate) if_exists: bool,
}

/// What a key with several values must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantifier {
    /// No prefix.
    Single,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// How one value of the key is compared with one of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    /// `ArnEquals` and `ArnLike`, which are the same.
    Arn,
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    IpAddress,
    Null,
}

impl Test {
    pub(crate) const fn has_wildcards(self) -> bool {
        matches!(self, Self::StringLike | Self::Arn)
    }
}

/// An order between the key's value, on the left, and the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// `None`, from values without an order, fulfils nothing.
    pub(crate) fn is_fulfilled_by(self, order: Option<std::cmp::Ordering>) -> bool {
        order.is_some_and(|order| match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        })
    }
}

impl Operator {
    /// Reads an operator's name; `None` if there is no such operator.
    pub(crate) fn read(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            None => (Quantifier::Single, name),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return None,
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (test, negated) = read_test(name)?;
        // `Null` asks for existence itself.
        (!(if_exists && test == Test::Null)).then_some(Self { quantifier, test, negated, if_exists })
    }
}

fn read_test(name: &str) -> Option<(Test, bool)> {
    let plain = match name {
        "StringEquals" => Test::StringEquals,
        "StringEqualsIgnoreCase" => Test::StringEqualsIgnoreCase,
        "StringLike" => Test::StringLike,
        "ArnEquals" | "ArnLike" => Test::Arn,
        "Bool" => Test::Bool,
        "BinaryEquals" => Test::Binary,
        "IpAddress" => Test::IpAddress,
        "Null" => Test::Null,
        _ => return read_negated(name).map(|test| (test, true)).or_else(|| read_ordered(name)),
    };
    Some((plain, false))
}

fn read_negated(name: &str) -> Option<Test> {
    Some(match name {
        "StringNotEquals" => Test::StringEquals,
        "StringNotEqualsIgnoreCase" => Test::StringEqualsIgnoreCase,
        "StringNotLike" => Test::StringLike,
        "ArnNotEquals" | "ArnNotLike" => Test::Arn,
        "NotIpAddress" => Test::IpAddress,
        _ => return None,
    })
}

fn read_ordered(name: &str) -> Option<(Test, bool)> {
    let numeric = name.strip_prefix("Numeric").map(|rest| (Test::Numeric as fn(_) -> _, rest));
    let date = || name.strip_prefix("Date").map(|rest| (Test::Date as fn(_) -> _, rest));
    let (test, rest) = numeric.or_else(date)?;
    let (comparison, negated) = match rest {
        "Equals" => (Comparison::Equal, false),
        "NotEquals" => (Comparison::Equal, true),
        "LessThan" => (Comparison::Less, false),
        "LessThanEquals" => (Comparison::LessOrEqual, false),
        "GreaterThan" => (Comparison::Greater, false),
        "GreaterThanEquals" => (Comparison::GreaterOrEqual, false),
        _ => return None,
    };
    Some((test(comparison), negated))
}
