//! What a request touches, as the parts of an ARN, so that no ARN is written out to be matched.

use crate::action::ResourceKind;
use crate::pattern::Subject;

/// The resource of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `arn:aws:iot:{region}:{account}:{kind}{name}`; the name may contain `/`.
    Arn {
        /// The region, `eu-west-1`.
        region: &'a str,
        /// The account id.
        account: &'a str,
        /// The type.
        kind: ResourceKind<'a>,
        /// All that follows the type.
        name: &'a str,
    },
    /// An ARN in full, of any service.
    Text(&'a str),
    /// `*`: the action has no resource to name, and only the pattern `*` grants it.
    Any,
}

impl<'a> Resource<'a> {
    /// The ARN as text, for messages and audit records.
    pub fn to_arn(&self) -> String {
        self.parts().concat()
    }

    pub(crate) fn parts(&self) -> [&'a str; 7] {
        match *self {
            Self::Arn { region, account, kind, name } => {
                ["arn:aws:iot:", region, ":", account, ":", kind.prefix(), name]
            }
            Self::Text(arn) => [arn, "", "", "", "", "", ""],
            Self::Any => ["*", "", "", "", "", "", ""],
        }
    }
}

/// Several strings read as one.
impl Subject for [&str; 7] {
    fn byte(&self, at: usize) -> Option<u8> {
        let mut at = at;
        for part in self {
            match at.checked_sub(part.len()) {
                Some(rest) => at = rest,
                None => return part.as_bytes().get(at).copied(),
            }
        }
        None
    }
}
