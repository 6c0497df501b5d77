//! Slots as they are stored and sent: numbers of incarnations and epochs are large and close to each other, so only what they
//! exceed a common base by is written.

use fleethaven_topics::slot::SLOTS;

use crate::member::Incarnation;
use crate::table::SlotOwner;

/// Slots, column by column, by slot number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactSlots {
    /// What is added to every number of the columns but 0.
    pub base: u64,
    /// Owners less the base; 0 where there is none.
    pub owners: Vec<u64>,
    /// Next owners less the base; 0 where there is none.
    pub nexts: Vec<u64>,
    /// Standbys less the base; 0 where there is none.
    pub standbys: Vec<u64>,
    /// Epochs less the base; 0 for epoch 0.
    pub epochs: Vec<u64>,
}

impl CompactSlots {
    /// The columns of `slots`.
    pub fn of(slots: &[SlotOwner]) -> Self {
        let numbers = slots.iter().flat_map(|slot| {
            let members = [slot.owner, slot.next, slot.standby].map(|member| member.map(|m| m.0));
            members.into_iter().flatten().chain([slot.epoch])
        });
        let base = numbers.filter(|number| *number > 0).min().map_or(0, |least| least - 1);
        let column = |of: fn(&SlotOwner) -> u64| slots.iter().map(|s| of(s).saturating_sub(base)).collect();
        Self {
            base,
            owners: column(|slot| slot.owner.map_or(0, |member| member.0)),
            nexts: column(|slot| slot.next.map_or(0, |member| member.0)),
            standbys: column(|slot| slot.standby.map_or(0, |member| member.0)),
            epochs: column(|slot| slot.epoch),
        }
    }

    /// The slots; `None` unless each column has as many rows as there are slots, and no number is too large.
    pub fn slots(&self) -> Option<Vec<SlotOwner>> {
        let columns = [&self.owners, &self.nexts, &self.standbys, &self.epochs];
        if columns.iter().any(|column| column.len() != usize::from(SLOTS)) {
            return None;
        }
        let whole = |number: &u64| match number {
            0 => Some(0),
            more => self.base.checked_add(*more),
        };
        let member = |number: &u64| whole(number).map(|whole| (whole > 0).then_some(Incarnation(whole)));
        let members = self.owners.iter().zip(&self.nexts).zip(&self.standbys);
        let slots = members.zip(&self.epochs).map(|(((owner, next), standby), epoch)| {
            Some(SlotOwner {
                owner: member(owner)?,
                next: member(next)?,
                standby: member(standby)?,
                epoch: whole(epoch)?,
            })
        });
        slots.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_as_they_were() {
        let some = |number| Some(Incarnation(number));
        let base = crate::floor(1_800_000_000);
        let mut slots = vec![SlotOwner { epoch: base, ..SlotOwner::default() }; 1024];
        assert_eq!(CompactSlots::of(&slots).slots().unwrap(), slots);
        slots[7] =
            SlotOwner { owner: some(base + 1), next: some(base + 9), standby: None, epoch: base + 300 };
        let compact = CompactSlots::of(&slots);
        assert_eq!((compact.owners[7], compact.nexts[7], compact.epochs[7]), (2, 10, 301));
        assert_eq!(compact.slots().unwrap(), slots);
        let none = vec![SlotOwner::default(); 1024];
        assert_eq!(CompactSlots::of(&none).slots().unwrap(), none);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(CompactSlots::default().slots(), None);
        let mut compact = CompactSlots::of(&vec![SlotOwner::default(); 1024]);
        (compact.base, compact.owners[3]) = (u64::MAX, 1);
        assert_eq!(compact.slots(), None);
    }
}
