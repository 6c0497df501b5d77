//! Access keys of users, and of the account itself where it asks for its own.

use fleethaven_operators::{iso, new_access_key};
use fleethaven_registry::shapes::{AccessKeyDescription, PageRequest, UpdateAccessKey};
use fleethaven_registry::{Action, QueryKind, QueryReply};
use uuid::Uuid;

use super::Asked;
use super::asked::{Whom, not_found};
use crate::answer::Outcome;
use crate::call::Call;
use crate::control::expect_reply;
use crate::error::Error;
use crate::query_protocol::Xml;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let user_name = match asked.whom()? {
        Whom::User(name) => Some(name),
        Whom::Account => None,
    };
    let random = [*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()];
    let made = new_access_key(random.as_flattened(), user_name);
    call.carry_out(Action::CreateAccessKey(Box::new(made.clone()))).await?;
    let key = Xml::default()
        .optional("UserName", made.user_name.as_deref())
        .text("AccessKeyId", &made.access_key_id)
        .text("Status", "Active")
        .text("SecretAccessKey", &made.secret_access_key.0)
        .text("CreateDate", &iso(call.now.as_secs()));
    Ok(asked.answer(Xml::default().within("AccessKey", key)))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let keys = keys_of(call, &asked.whom()?).await?;
    let (keys, next) = asked.page_of(keys, |key| key.access_key_id.clone())?;
    let described = |key: &AccessKeyDescription| {
        Xml::default()
            .optional("UserName", key.user_name.as_deref())
            .text("AccessKeyId", &key.access_key_id)
            .text("Status", if key.active { "Active" } else { "Inactive" })
            .text("CreateDate", &iso(key.created_at.as_secs()))
    };
    let result = Xml::default().list("AccessKeyMetadata", keys.iter().map(described));
    Ok(asked.listed(result, next.as_deref()))
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let active = match asked.form.required("Status")? {
        "Active" => true,
        "Inactive" => false,
        _ => return Err(Error::invalid("'Status' must be Active or Inactive")),
    };
    let access_key_id = meant(&asked).await?;
    call.carry_out(Action::UpdateAccessKey(Box::new(UpdateAccessKey { access_key_id, active }))).await?;
    Ok(asked.done())
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let access_key_id = meant(&asked).await?;
    call.carry_out(Action::DeleteAccessKey(access_key_id)).await?;
    Ok(asked.done())
}

/// The access key that is named, which has to be that of the user that is meant.
async fn meant(asked: &Asked<'_>) -> Result<String, Error> {
    let id = asked.form.required("AccessKeyId")?;
    let keys = keys_of(asked.call, &asked.whom()?).await?;
    match keys.iter().any(|key| key.access_key_id == id) {
        true => Ok(id.to_owned()),
        false => Err(not_found("Access key", id)),
    }
}

async fn keys_of(call: &Call<'_>, whom: &Whom) -> Result<Vec<AccessKeyDescription>, Error> {
    if let Whom::User(name) = whom {
        let reply = call.query(QueryKind::AccessKeysOfUser(name.clone())).await?;
        return Ok(expect_reply!(reply, QueryReply::AccessKeys(page) => page.items));
    }
    let (mut keys, mut token) = (Vec::new(), None);
    loop {
        let query = QueryKind::ListAccessKeys(PageRequest { token, limit: None });
        let page = expect_reply!(call.query(query).await?, QueryReply::AccessKeys(page) => page);
        keys.extend(page.items.into_iter().filter(|key| key.user_name.is_none()));
        token = page.next;
        if token.is_none() {
            return Ok(keys);
        }
    }
}
