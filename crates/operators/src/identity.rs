//! Who signs requests.

use fleethaven_policy::{Assumer, CustomKeys};
use fleethaven_registry::shapes::{RoleDescription, Tag, UserDescription};
use fleethaven_types::AccountId;

use crate::request::{iso, principal_tag};
use crate::session::Session;

/// Whose requests they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account itself, by an access key that is no user's.
    Root {
        /// The account.
        account: AccountId,
    },
    /// A user.
    User {
        /// Its account.
        account: AccountId,
        /// Its name.
        name: String,
        /// `AIDA…`
        id: String,
        /// Its tags.
        tags: Vec<Tag>,
    },
    /// Who has assumed a role.
    Session(Session),
}

impl Identity {
    /// The identity of a user.
    pub fn of_user(user: &UserDescription) -> Self {
        Self::User {
            account: user.account,
            name: user.user_name.clone(),
            id: user.user_id.clone(),
            tags: user.tags.clone(),
        }
    }

    /// The account that it belongs to.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Root { account } | Self::User { account, .. } => *account,
            Self::Session(session) => session.account,
        }
    }

    /// As GetCallerIdentity tells it.
    pub fn arn(&self) -> String {
        match self {
            Self::Root { account } => format!("arn:aws:iam::{account}:root"),
            Self::User { account, name, .. } => format!("arn:aws:iam::{account}:user/{name}"),
            Self::Session(session) => session.arn(),
        }
    }

    /// `aws:userid`: of the account its id, of a user `AIDA…`, of a session `AROA…:name`.
    pub fn user_id(&self) -> String {
        match self {
            Self::Root { account } => account.to_string(),
            Self::User { id, .. } => id.clone(),
            Self::Session(session) => session.user_id(),
        }
    }

    /// `aws:PrincipalArn`: of a session its role's.
    pub fn principal_arn(&self) -> String {
        match self {
            Self::Session(session) => session.role_arn(),
            other => other.arn(),
        }
    }

    /// Hands what a trust policy asks about to `then`.
    pub fn as_assumer<T>(&self, then: impl FnOnce(Assumer<'_>) -> T) -> T {
        let (account, arn) = (self.account().to_string(), self.arn());
        let role_arn = match self {
            Self::Session(session) => Some(session.role_arn()),
            Self::Root { .. } | Self::User { .. } => None,
        };
        then(Assumer::Principal { account: &account, arn: &arn, role_arn: role_arn.as_deref() })
    }

    /// The condition keys that say who it is.
    pub fn keys(&self) -> CustomKeys {
        let mut keys = CustomKeys::new();
        keys.insert("aws:PrincipalArn", self.principal_arn());
        keys.insert("aws:PrincipalAccount", self.account().to_string());
        keys.insert("aws:userid", self.user_id());
        let kind = match self {
            Self::Root { .. } => "Account",
            Self::User { name, tags, .. } => {
                keys.insert("aws:username", name.as_str());
                for Tag { key, value } in tags {
                    keys.insert(&principal_tag(key), value.as_str());
                }
                "User"
            }
            Self::Session(session) => {
                keys.insert("aws:TokenIssueTime", iso(session.issued_at));
                for (name, value) in &session.keys {
                    keys.insert(name, value.as_str());
                }
                "AssumedRole"
            }
        };
        keys.insert("aws:PrincipalType", kind);
        keys
    }

    /// Whether a session is one of this role: a role that was made again under the name is another one.
    pub fn is_session_of(&self, role: &RoleDescription) -> bool {
        matches!(self, Self::Session(session) if session.account == role.account && session.role_id == role.role_id)
    }
}
