//! Tags of users, roles and managed policies.

use fleethaven_registry::Action;
use fleethaven_registry::shapes::{Tag, TagOperator, Tagged, UntagOperator};

use super::Asked;
use super::{managed_policies, roles, users};
use crate::answer::Outcome;
use crate::call::Call;
use crate::error::Error;
use crate::query_protocol::Xml;

pub(super) async fn tag(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let args = TagOperator { tagged: tagged(&asked)?, tags: asked.form.tags("Tags")? };
    call.carry_out(Action::TagOperator(Box::new(args))).await?;
    Ok(asked.done())
}

pub(super) async fn untag(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let tag_keys = asked.form.list("TagKeys")?.into_iter().map(str::to_owned).collect();
    let args = UntagOperator { tagged: tagged(&asked)?, tag_keys };
    call.carry_out(Action::UntagOperator(Box::new(args))).await?;
    Ok(asked.done())
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let tags = match asked.form.action() {
        "ListUserTags" => users::found(call, &asked.user()?).await?.tags,
        "ListRoleTags" => roles::found(call, &asked.role()?).await?.tags,
        _ => managed_policies::found(&asked).await?.tags,
    };
    let (tags, next) = asked.page_of(tags, |tag| tag.key.clone())?;
    Ok(asked.listed(Xml::default().list("Tags", tags.iter().map(member)), next.as_deref()))
}

/// What the operation is about: its name ends with what that is.
fn tagged(asked: &Asked<'_>) -> Result<Tagged, Error> {
    let action = asked.form.action();
    match (action.ends_with("User"), action.ends_with("Role")) {
        (true, _) => asked.user().map(Tagged::User),
        (_, true) => asked.role().map(Tagged::Role),
        _ => asked.policy().map(Tagged::Policy),
    }
}

/// A description with the tags, if there are any.
pub(super) fn with_tags(description: Xml, tags: &[Tag]) -> Xml {
    match tags {
        [] => description,
        tags => description.list("Tags", tags.iter().map(member)),
    }
}

fn member(tag: &Tag) -> Xml {
    Xml::default().text("Key", &tag.key).text("Value", &tag.value)
}
