//! What is asked about groups beside the lanes.

use fleethaven_storage::{Error, GroupId, GroupRecord, OpenGroup};
use redis::Value;

use crate::answers::{done, opened};
use crate::batch::{know_group, open_group, yield_to};
use crate::client::{Batch, Client};
use crate::keys;
use crate::reply;
use crate::round::{Answers, Round};
use crate::script::{Call, Op};

/// All groups, in order of age.
pub(crate) fn list(client: &mut Client) -> Result<Vec<GroupRecord>, Error> {
    let calls = client.shared().keys.partitions().map(|partition| Call::of(partition, Op::Groups, &[]));
    let batch = Batch { calls: calls.collect(), durable: false };
    let mut groups = Vec::new();
    for replies in client.run(&batch)? {
        for value in reply::array(replies?.pop().unwrap_or_default())? {
            groups.push(group(value)?);
        }
    }
    groups.sort_by_key(|group| group.group);
    Ok(groups)
}

/// The queue of a group, a new one if there is none.
pub(crate) fn open(client: &mut Client, open: &OpenGroup) -> Result<GroupId, Error> {
    let (shared, number) = (client.shared(), client.session_number()?);
    let partition = shared.keys.of_client(&keys::client(open.scope, &open.key));
    let group = GroupId(keys::session_id(number, partition));
    let mut round = Round::new(&shared);
    let places = know_group(group.0, &mut round);
    let mut answers = Answers { replies: client.run(&round.finish()), shared: &shared };
    places.into_iter().try_for_each(|place| answers.take(place).and_then(|value| done(&value)))?;
    let mut round = Round::new(&shared);
    let place = open_group(open, group, &mut round);
    let mut answers = Answers { replies: client.run(&round.finish()), shared: &shared };
    let known = opened(answers.take(place)?)?;
    if known != group {
        let mut round = Round::new(&shared);
        let places = yield_to(known.0, group.0, &mut round);
        let mut answers = Answers { replies: client.run(&round.finish()), shared: &shared };
        places.into_iter().try_for_each(|place| answers.take(place).and_then(|value| done(&value)))?;
    }
    Ok(known)
}

fn group(value: Value) -> Result<GroupRecord, Error> {
    let mut values = reply::array(value)?;
    let group = GroupId(reply::number(reply::next(&mut values)?)?);
    let name = reply::text(reply::next(&mut values)?)?;
    let (scope, key) = keys::split_client(&name).ok_or_else(|| reply::malformed("no group"))?;
    Ok(GroupRecord { group, scope, key })
}
