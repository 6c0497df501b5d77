//! Principals of things (provisioning.md section 2).

use fleethaven_registry::shapes::{
    AttachThingPrincipal, DetachThingPrincipal, Listed, PrincipalThing, ThingPrincipal,
};
use fleethaven_registry::{Action, QueryKind, QueryReply};
use serde_json::json;

use super::expect_reply;
use crate::answer::{self, Answer, Outcome, word};
use crate::call::Call;
use crate::error::Error;

const PRINCIPAL: &str = "x-amzn-principal";

pub(super) async fn attach(call: &Call<'_>) -> Outcome {
    let action = Action::AttachThingPrincipal(Box::new(AttachThingPrincipal {
        thing_name: call.input.label("thingName")?,
        principal: call.input.required_header(PRINCIPAL)?,
        thing_principal_type: call.input.query_enumeration("thingPrincipalType")?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn detach(call: &Call<'_>) -> Outcome {
    let action = Action::DetachThingPrincipal(Box::new(DetachThingPrincipal {
        thing_name: call.input.label("thingName")?,
        principal: call.input.required_header(PRINCIPAL)?,
    }));
    call.carry_out(action).await?;
    Ok(Answer::object())
}

pub(super) async fn list_of_thing(call: &Call<'_>) -> Outcome {
    let page = of_thing(call).await?;
    let principals = answer::list(page.items, |item| item.principal.into());
    Ok(Answer::of([("principals", principals), ("nextToken", page.next.into())]))
}

pub(super) async fn list_of_thing_v2(call: &Call<'_>) -> Outcome {
    let page = of_thing(call).await?;
    let objects = answer::list(
        page.items,
        |item| json!({"principal": item.principal, "thingPrincipalType": word(item.thing_principal_type)}),
    );
    Ok(Answer::of([("thingPrincipalObjects", objects), ("nextToken", page.next.into())]))
}

async fn of_thing(call: &Call<'_>) -> Result<Listed<ThingPrincipal>, Error> {
    let query = QueryKind::ListThingPrincipals {
        thing_name: call.input.label("thingName")?,
        thing_principal_type: call.input.query_enumeration("thingPrincipalType")?,
        page: call.input.next_token_page()?,
    };
    Ok(expect_reply!(call.query(query).await?, QueryReply::ThingPrincipals(page) => page))
}

pub(super) async fn list_things(call: &Call<'_>) -> Outcome {
    let page = of_principal(call).await?;
    let things = answer::list(page.items, |item| item.thing_name.into());
    Ok(Answer::of([("things", things), ("nextToken", page.next.into())]))
}

pub(super) async fn list_things_v2(call: &Call<'_>) -> Outcome {
    let page = of_principal(call).await?;
    let objects = answer::list(
        page.items,
        |item| json!({"thingName": item.thing_name, "thingPrincipalType": word(item.thing_principal_type)}),
    );
    Ok(Answer::of([("principalThingObjects", objects), ("nextToken", page.next.into())]))
}

async fn of_principal(call: &Call<'_>) -> Result<Listed<PrincipalThing>, Error> {
    let query = QueryKind::ListPrincipalThings {
        principal: call.input.required_header(PRINCIPAL)?,
        thing_principal_type: call.input.query_enumeration("thingPrincipalType")?,
        page: call.input.next_token_page()?,
    };
    Ok(expect_reply!(call.query(query).await?, QueryReply::PrincipalThings(page) => page))
}
