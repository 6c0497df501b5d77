//! Users.

use fleethaven_operators::iso;
use fleethaven_registry::shapes::{CreateUser, DeleteUser, UserDescription};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};

use super::Asked;
use super::asked::{Whom, not_found};
use super::tags::with_tags;
use crate::answer::Outcome;
use crate::call::Call;
use crate::control::expect_reply;
use crate::error::Error;
use crate::query_protocol::Xml;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let user_name = asked.user()?;
    let args = CreateUser { tags: asked.new_tags("user", &user_name)?, user_name };
    let made = call.execute(Action::CreateUser(args)).await?;
    let made = expect_reply!(made, Reply::User(made) => made);
    Ok(asked.answer(Xml::default().within("User", described(&made))))
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let user = match asked.whom()? {
        Whom::User(name) => described(&found(call, &name).await?),
        Whom::Account => account(call).await?,
    };
    Ok(asked.answer(Xml::default().within("User", user)))
}

/// The account itself, which has no name and no path.
async fn account(call: &Call<'_>) -> Result<Xml, Error> {
    let account = call.scope.account;
    let accounts = expect_reply!(call.query(QueryKind::Accounts).await?, QueryReply::Accounts(all) => all);
    let own = accounts.into_iter().find(|known| known.account == account);
    let made = own.ok_or_else(|| not_found("Account", &account.to_string()))?.created_at;
    let arn = format!("arn:aws:iam::{account}:root");
    let user = Xml::default().text("UserId", &account.to_string()).text("Arn", &arn);
    Ok(user.text("CreateDate", &iso(made.as_secs())))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    asked.everything()?;
    let query = QueryKind::ListUsers(asked.page()?);
    let page = expect_reply!(call.query(query).await?, QueryReply::Users(page) => page);
    let result = Xml::default().list("Users", page.items.iter().map(listed));
    Ok(asked.listed(result, page.next.as_deref()))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    call.carry_out(Action::DeleteUser(DeleteUser { user_name: asked.user()?, force: false })).await?;
    Ok(asked.done())
}

/// There are none: policies are given to users and roles.
pub(super) async fn list_groups(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    found(call, &asked.user()?).await?;
    Ok(asked.listed(Xml::default().list("Groups", []), None))
}

pub(super) async fn found(call: &Call<'_>, name: &str) -> Result<UserDescription, Error> {
    let reply = call.query(QueryKind::GetUser(name.to_owned())).await?;
    let user = expect_reply!(reply, QueryReply::User(user) => user);
    user.map(|user| *user).ok_or_else(|| not_found("User", name))
}

fn described(user: &UserDescription) -> Xml {
    with_tags(listed(user), &user.tags)
}

/// Listings tell no tags.
fn listed(user: &UserDescription) -> Xml {
    Xml::default()
        .text("Path", "/")
        .text("UserName", &user.user_name)
        .text("UserId", &user.user_id)
        .text("Arn", &user.arn())
        .text("CreateDate", &iso(user.created_at.as_secs()))
}
