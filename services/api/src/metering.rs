//! What requests use of what AWS bills for. A device's request counts for the billing group of the thing that its certificate is attached to;
//! AWS, which tells a client's thing by its MQTT client id, knows no group of requests.

use fleethaven_types::Scope;
use fleethaven_usage::{Amounts, Owner, Usage, messages, operations};

use crate::operations::{Operation, Service};

/// Counts a request that was answered: `asked` and `answered` are the bytes of the bodies. A message that was published counts where
/// it is, as only there is known how large it is.
pub(crate) fn count(
    usage: &Usage,
    (operation, scope, principal): (&Operation, Scope, Option<&str>),
    (asked, answered): (usize, usize),
    is_done: bool,
) {
    if !usage.is_on() {
        return;
    }
    let amounts = match (operation.service, operation.name, is_done) {
        (Service::Control, name, true) => operations::of_registry(name, asked.max(answered)),
        (
            Service::Data,
            "DeleteThingShadow" | "GetThingShadow" | "ListNamedShadowsForThing" | "UpdateThingShadow",
            true,
        ) => operations::of_shadow(asked.max(answered)),
        (Service::Data, "Publish", false) => messages::amounts(messages::refused(answered)),
        _ => Amounts::NONE,
    };
    if amounts.is_none() {
        return;
    }
    let owner =
        principal.map_or_else(|| Owner::account(scope), |principal| usage.owner_of_caller(scope, principal));
    usage.add(owner, amounts);
}
