//! What a deleted group leaves behind: its things, a bounded number of which leaves with each command on groups, so that
//! no command writes more than a bounded number of keys.

use prost::Message;

use super::membership::leave;
use crate::error::Error;
use crate::keys;
use crate::record::{self, GroupName, ThingGroupMembership};
use crate::store::Store;
use crate::view::Effects;

/// Things that leave a deleted group with one command.
const SWEPT: usize = if cfg!(test) { 2 } else { 256 };

/// Lets things of a group that is being deleted leave it; what remains is swept later.
pub(super) fn bury(store: &Store<'_>, effects: &mut Effects, name: &str, id: &str) -> Result<(), Error> {
    if sweep(store, effects, name, id)? {
        let group = GroupName { name: name.to_owned(), id: id.to_owned() };
        effects.put(keys::thing_group_remains(store.scope, id), group.encode_to_vec());
    }
    Ok(())
}

/// The effects of a command on groups, which begin with some work on what is left of a deleted one.
pub(super) fn swept(store: &Store<'_>) -> Result<Effects, Error> {
    let mut effects = Effects::default();
    if let Some((key, value)) = store.view.scan(&keys::all_thing_group_remains(store.scope), None, 1).first()
    {
        let group: GroupName = record::decode(value)?;
        if !sweep(store, &mut effects, &group.name, &group.id)? {
            effects.delete(key.clone());
        }
    }
    Ok(effects)
}

/// Whether things are left that are still to leave.
fn sweep(store: &Store<'_>, effects: &mut Effects, name: &str, id: &str) -> Result<bool, Error> {
    let mut pairs = store.view.scan(&keys::things_of_group(store.scope, id), None, SWEPT.saturating_add(1));
    let more = pairs.len() > SWEPT;
    pairs.truncate(SWEPT);
    for (key, _) in &pairs {
        let thing = keys::last_part(key).unwrap_or_default();
        let membership: Option<ThingGroupMembership> =
            store.record(&keys::group_of_thing(store.scope, thing, name))?;
        match membership.filter(|membership| membership.thing_group_id == id) {
            Some(membership) => leave(store, effects, thing, name, &membership)?,
            None => effects.delete(key.clone()),
        }
    }
    Ok(more)
}
