//! Policies that a user or role has of its own.

use fleethaven_registry::Action;
use fleethaven_registry::shapes::{OperatorPolicy, OperatorPolicyName, PolicyHolder, PutOperatorPolicy};

use super::asked::{encoded, not_found};
use super::{Asked, roles, users};
use crate::answer::Outcome;
use crate::call::Call;
use crate::error::Error;
use crate::query_protocol::Xml;

pub(super) async fn put(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let args = PutOperatorPolicy {
        holder: asked.holder()?,
        policy_name: asked.form.required("PolicyName")?.to_owned(),
        policy_document: asked.form.required("PolicyDocument")?.to_owned(),
    };
    call.carry_out(Action::PutOperatorPolicy(Box::new(args))).await?;
    Ok(asked.done())
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let holder = asked.holder()?;
    let name = asked.form.required("PolicyName")?;
    let policies = policies_of(call, &holder).await?;
    let policy = policies.into_iter().find(|policy| policy.policy_name == name);
    let policy = policy.ok_or_else(|| not_found("Policy", name))?;
    let member = match holder {
        PolicyHolder::User(_) => "UserName",
        PolicyHolder::Role(_) => "RoleName",
    };
    let result = Xml::default()
        .text(member, holder.name())
        .text("PolicyName", name)
        .text("PolicyDocument", &encoded(&policy.policy_document));
    Ok(asked.answer(result))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let policies = policies_of(call, &asked.holder()?).await?;
    let (policies, next) = asked.page_of(policies, |policy| policy.policy_name.clone())?;
    let names = policies.iter().map(|policy| policy.policy_name.as_str());
    Ok(asked.listed(Xml::default().texts("PolicyNames", names), next.as_deref()))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let (holder, policy_name) = (asked.holder()?, asked.form.required("PolicyName")?.to_owned());
    let name = OperatorPolicyName { holder, policy_name };
    call.carry_out(Action::DeleteOperatorPolicy(Box::new(name))).await?;
    Ok(asked.done())
}

async fn policies_of(call: &Call<'_>, holder: &PolicyHolder) -> Result<Vec<OperatorPolicy>, Error> {
    match holder {
        PolicyHolder::User(name) => users::found(call, name).await.map(|user| user.policies),
        PolicyHolder::Role(name) => roles::found(call, name).await.map(|role| role.policies),
    }
}
