//! `Position`.

use fleethaven_fabric::metadata::Position;

use crate::generated::metadata as wire;

pub(crate) fn to_wire(position: Position) -> wire::Position {
    wire::Position { incarnation: position.incarnation, group: position.group, revision: position.revision }
}

pub(crate) fn from_wire(position: wire::Position) -> Position {
    Position { incarnation: position.incarnation, group: position.group, revision: position.revision }
}
