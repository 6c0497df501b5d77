//! Tags (provisioning.md section 9).

use fleethaven_registry::shapes::{Tag, TagResource, UntagResource};
use fleethaven_registry::{Action, QueryKind, QueryReply};
use serde_json::json;

use super::expect_reply;
use crate::answer::{self, Answer, Outcome};
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

/// The member `tags` of a body.
pub(super) fn body_tags(body: &Members<'_>) -> Result<Vec<Tag>, Error> {
    let read = |tag: &Members<'_>| {
        let value = tag.string("Value")?.unwrap_or_default();
        Ok(Tag { key: tag.required_string("Key")?, value })
    };
    body.objects("tags")?.iter().map(read).collect()
}

pub(super) async fn tag(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    body.list("tags")?.ok_or_else(|| missing("tags"))?;
    let action = Action::TagResource(Box::new(TagResource {
        resource_arn: body.required_string("resourceArn")?,
        tags: body_tags(&body)?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn untag(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::UntagResource(Box::new(UntagResource {
        resource_arn: body.required_string("resourceArn")?,
        tag_keys: body.strings("tagKeys")?.ok_or_else(|| missing("tagKeys"))?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let resource_arn = call.input.query_string("resourceArn").ok_or_else(|| missing("resourceArn"))?;
    let next_token = call.input.query_string("nextToken").filter(|token| !token.is_empty());
    let query = QueryKind::ListTagsForResource { resource_arn, next_token };
    let page = expect_reply!(call.query(query).await?, QueryReply::Tags(page) => page);
    let tags = answer::list(page.items, |tag| json!({"Key": tag.key, "Value": tag.value}));
    Ok(Answer::of([("tags", tags), ("nextToken", page.next.into())]))
}
