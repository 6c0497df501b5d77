//! Everything of a kind, page by page.

use anyhow::{Context, Result, bail};
use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::{
    AccessKeyDescription, AccountDescription, ConnectionDescription, FunctionDescription, Listed,
    PageRequest, RoleDescription, ServerCertificateDescription, UserDescription,
};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{AccountId, Scope};

use super::scope;

/// The items of all pages; `items` reads the answer that is meant.
async fn every<T>(
    metadata: &dyn Metadata,
    scope: Scope,
    query: fn(PageRequest) -> QueryKind,
    items: fn(QueryReply) -> Option<Listed<T>>,
) -> Result<Vec<T>> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, query(page))).await?;
        let page = items(reply).context("an answer of another kind")?;
        found.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// Every account.
pub(super) async fn accounts(metadata: &dyn Metadata) -> Result<Vec<AccountDescription>> {
    let nobody = AccountId::from_u64(0).context("an account id")?;
    match metadata.query(Query::new(scope(nobody)?, QueryKind::Accounts)).await? {
        QueryReply::Accounts(accounts) => Ok(accounts),
        _ => bail!("an answer of another kind"),
    }
}

macro_rules! listings {
    ($($(#[$doc:meta])* $name:ident: $item:ty = $query:ident => $reply:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) async fn $name(metadata: &dyn Metadata, scope: Scope) -> Result<Vec<$item>> {
            let items = |reply| match reply {
                QueryReply::$reply(page) => Some(page),
                _ => None,
            };
            every(metadata, scope, QueryKind::$query, items).await
        }
    )*};
}

listings! {
    /// Every access key of the scope's account.
    access_keys: AccessKeyDescription = ListAccessKeys => AccessKeys;
    /// Every connection of the scope's account.
    connections: ConnectionDescription = ListConnections => Connections;
    /// Every function of the scope's account.
    functions: FunctionDescription = ListFunctions => Functions;
    /// Every role of the scope's account.
    roles: RoleDescription = ListRoles => Roles;
    /// Every server certificate of the scope's account.
    server_certificates: ServerCertificateDescription = ListServerCertificates => ServerCertificates;
    /// Every user of the scope's account.
    users: UserDescription = ListUsers => Users;
}
