//! Managed policies of a user or role.

use fleethaven_registry::Action;
use fleethaven_registry::shapes::{OperatorPolicy, OperatorPolicyName, PolicyHolder};

use super::{Asked, roles, users};
use crate::answer::Outcome;
use crate::call::Call;
use crate::query_protocol::Xml;

pub(super) async fn attach(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    call.carry_out(Action::AttachManagedPolicy(named(&asked)?)).await?;
    Ok(asked.done())
}

pub(super) async fn detach(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    call.carry_out(Action::DetachManagedPolicy(named(&asked)?)).await?;
    Ok(asked.done())
}

fn named(asked: &Asked<'_>) -> Result<Box<OperatorPolicyName>, crate::error::Error> {
    let (holder, policy_name) = asked.holder_and_policy()?;
    Ok(Box::new(OperatorPolicyName { holder, policy_name }))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(call)?;
    let attached = match asked.holder()? {
        PolicyHolder::User(name) => users::found(call, &name).await?.attached,
        PolicyHolder::Role(name) => roles::found(call, &name).await?.attached,
    };
    let (attached, next) = asked.page_of(attached, |policy| policy.policy_name.clone())?;
    let described = |policy: &OperatorPolicy| {
        let arn = format!("arn:aws:iam::{}:policy/{}", asked.account(), policy.policy_name);
        Xml::default().text("PolicyName", &policy.policy_name).text("PolicyArn", &arn)
    };
    let result = Xml::default().list("AttachedPolicies", attached.iter().map(described));
    Ok(asked.listed(result, next.as_deref()))
}
