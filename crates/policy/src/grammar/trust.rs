//! Trust policies: like identity policies, with a principal instead of a resource.

use super::{Object, Rules, actions, conditions_of, each, effect, outer, strings};
use crate::error::Error;
use crate::json::Node;
use crate::settings::{Limits, Services};
use crate::trust::{TrustStatement, Trusted};

pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Vec<TrustStatement>, Error> {
    let outer = outer(text, &Limits { services: Services::Any, ..*limits })?;
    each(outer.statement, |node, path| statement(node, path, outer.rules))
}

fn statement(node: Node, path: String, rules: Rules) -> Result<TrustStatement, Error> {
    let mut object = Object::new(node, path)?;
    object.optional_text("Sid")?;
    let effect = effect(&mut object)?;
    let actions = actions(&mut object, rules)?;
    let path = object.path_of("Principal");
    let principals = principals(object.required("Principal")?, &path)?;
    let conditions = conditions_of(&mut object, rules)?;
    object.finish()?;
    Ok(TrustStatement { effect, actions, principals, conditions })
}

/// `"*"`, or an object of `AWS` and `Service`, each a string or an array of them.
fn principals(node: Node, path: &str) -> Result<Vec<Trusted>, Error> {
    let mut object = match node {
        Node::Text(text) if text == "*" => return Ok(vec![Trusted::Anyone]),
        node => Object::new(node, path.to_owned())?,
    };
    let mut trusted = Vec::new();
    if let Some(node) = object.take("AWS") {
        let path = object.path_of("AWS");
        for text in strings(node, &path)? {
            trusted.push(Trusted::read(&text).ok_or_else(|| {
                Error::malformed(
                    path.clone(),
                    format!(
                        "{text:?} is neither an account, nor the ARN of one, of a user, a role or a session"
                    ),
                )
            })?);
        }
    }
    if let Some(node) = object.take("Service") {
        let path = object.path_of("Service");
        trusted.extend(strings(node, &path)?.into_iter().map(|name| Trusted::Service(name.into_boxed_str())));
    }
    object.finish()?;
    if trusted.is_empty() {
        return Err(Error::malformed(path, "there is no principal"));
    }
    Ok(trusted)
}
