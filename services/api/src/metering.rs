//! What requests use of what AWS bills for. Of requests AWS knows no billing group: it tells a client's thing by its MQTT client id.

use fleethaven_types::Scope;
use fleethaven_usage::{Amounts, Owner, Usage, messages, operations};

use crate::operations::{Operation, Service};

/// Counts a request that was answered: `asked` and `answered` are the bytes of the bodies. A message that was published counts where
/// it is, as only there is known how large it is.
pub(crate) fn count(
    usage: &Usage,
    (operation, scope): (&Operation, Scope),
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
    usage.add(Owner::account(scope), amounts);
}
