//! Operations that AWS bills for, from its "additional metering details".

use fleethaven_registry::shapes::Amounts;

/// Bytes in a piece, as AWS counts operations.
const PIECE: usize = 1024;

/// Operations on the registry, in order. Others of the control plane cost nothing; the second versions of listings are counted as
/// the first.
const REGISTRY: [&str; 20] = [
    "AddThingToThingGroup",
    "AttachThingPrincipal",
    "CreateThing",
    "CreateThingGroup",
    "CreateThingType",
    "DescribeThing",
    "DescribeThingGroup",
    "DescribeThingType",
    "ListPrincipalThings",
    "ListPrincipalThingsV2",
    "ListThingGroups",
    "ListThingGroupsForThing",
    "ListThingPrincipals",
    "ListThingPrincipalsV2",
    "ListThingTypes",
    "ListThings",
    "ListThingsInThingGroup",
    "UpdateThing",
    "UpdateThingGroup",
    "UpdateThingGroupsForThing",
];

/// How many operations AWS counts one on a record of so many bytes as: one at least.
pub fn pieces(bytes: usize) -> u64 {
    bytes.div_ceil(PIECE).max(1) as u64
}

/// What an operation of the control plane counts as that was asked and answered in so many bytes.
pub fn of_registry(operation: &str, bytes: usize) -> Amounts {
    match REGISTRY.binary_search(&operation) {
        Ok(_) => Amounts { registry_operations: pieces(bytes), ..Amounts::NONE },
        Err(_) => Amounts::NONE,
    }
}

/// What an operation on a shadow counts as, with a document of so many bytes.
pub fn of_shadow(bytes: usize) -> Amounts {
    Amounts { shadow_operations: pieces(bytes), ..Amounts::NONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found() {
        assert!(REGISTRY.is_sorted());
        assert_eq!(of_registry("CreateThing", 0).registry_operations, 1);
        assert_eq!(of_registry("UpdateThingGroupsForThing", 1025).registry_operations, 2);
        assert_eq!(of_registry("DeleteThing", 9), Amounts::NONE);
        assert_eq!(of_shadow(1024).shadow_operations, 1);
    }
}
