-- Queues of groups.
local MIDDLE = 4503599627370496
-- A new generation gives out numbers so far from those of the one before, which may have given out some that are lost.
local LEAP = 1048576

local groupkeys = root .. ':groupkeys'
local function group_record(id) return root .. ':gr:' .. id end
local function group_entries(id) return root .. ':gm:' .. id end
local function free(id) return root .. ':gf:' .. id end
local function holders(id) return root .. ':gh:' .. id end
local function held_by(id, name) return root .. ':gh:' .. id .. ':' .. name end

-- A group is known from now on: group.
function ops.know()
  call('SADD', groups, take())
  return 'ok'
end

-- A group is known no longer: group.
function ops.unknow()
  local id = take()
  if not fenced then call('SREM', groups, id) end
end

-- The group of a key, if there is one. Groups that an earlier version made are not in the index before there is one; those
-- that it closed may be.
local function group_of(key)
  if call('EXISTS', groupkeys) == 0 then
    for _, id in ipairs(call('ZRANGE', root .. ':grouplist', 0, -1)) do
      local of = call('HGET', group_record(id), 'k')
      if of then call('HSETNX', groupkeys, of, id) end
    end
  end
  local id = call('HGET', groupkeys, key)
  return id and call('EXISTS', group_record(id)) == 1 and id
end

-- Open: group, account:region:key, bounds, retention. Answers the group of this key: another one, if it was there before.
function ops.open()
  local id, key, messages, bytes, retention = take(), take(), take(), take(), take()
  local known = group_of(key)
  if known then return known end
  call('HSET', group_record(id), 'k', key, 'bm', messages, 'bb', bytes, 'r', retention, 'n', 0, 'b', 0,
    'front', int(MIDDLE + 1), 'back', int(MIDDLE), 'g', current_generation())
  call('ZADD', root .. ':grouplist', id, id)
  call('HSET', groupkeys, key, id)
  return id
end

-- Close: group.
function ops.close()
  local id = take()
  if fenced then return end
  local key = call('HGET', group_record(id), 'k')
  if key and call('HGET', groupkeys, key) == id then call('HDEL', groupkeys, key) end
  for _, name in ipairs(call('SMEMBERS', holders(id))) do call('UNLINK', held_by(id, name)) end
  call('UNLINK', group_record(id), group_entries(id), free(id), holders(id))
  call('ZREM', root .. ':grouplist', id)
end

-- Groups of this partition.
function ops.groups()
  local ids = call('ZRANGE', root .. ':grouplist', 0, -1)
  for i, id in ipairs(ids) do ids[i] = {id, call('HGET', group_record(id), 'k')} end
  return ids
end

-- The store that holds entries under a name: those under its own name and a '!' may have been sent at QoS 2.
local function store_of(name)
  return (name:gsub('!$', ''))
end

local function hold(id, number, name, lease)
  call('ZADD', held_by(id, name), number, number)
  call('SADD', holders(id), name)
  call('SET', root .. ':w:' .. store_of(name), '1', 'PX', lease)
end

-- A number behind all others, before them, or the one that is asked for.
local function next_number(id, front, back, gen, side)
  if side ~= 'front' and side ~= 'back' then return side end
  local current, step = current_generation(), 1
  if gen ~= current then step = LEAP end
  if side == 'front' then front = front - step else back = back + step end
  call('HSET', group_record(id), 'front', int(front), 'back', int(back), 'g', current)
  return int(side == 'front' and front or back)
end

-- Append to a group's queue: group, header, cost, delivery, side ("back"; "front", or a number that it had, for what comes back,
-- whatever the bounds), who holds it (empty for nobody), milliseconds of its lease.
function ops.wait()
  local id, header, cost, delivery, side, name, lease =
    take(), take(), tonumber(take()), take(), take(), take(), take()
  return once('g' .. id, function()
    local found = call('HMGET', group_record(id), 'n', 'b', 'bm', 'bb', 'front', 'back', 'g')
    if not found[1] then return 'none' end
    if side == 'back' and not has_room(found[1], found[2], cost, found[3], found[4]) then return 'full' end
    local number = next_number(id, found[5], found[6], found[7], side)
    call('HSET', group_entries(id), number, cmsgpack.pack({header, delivery, body}))
    call('HINCRBY', group_record(id), 'n', 1)
    call('HINCRBY', group_record(id), 'b', cost)
    if name == '' then
      call('ZADD', free(id), number, number)
    else
      hold(id, number, name, lease)
    end
    return number
  end)
end

-- Takes an entry out of a group's queue, whoever holds it; whether it was there.
local function drop(id, number)
  local entry = call('HGET', group_entries(id), number)
  if not entry then return false end
  call('HDEL', group_entries(id), number)
  if call('ZREM', free(id), number) == 0 then
    for _, name in ipairs(call('SMEMBERS', holders(id))) do call('ZREM', held_by(id, name), number) end
  end
  call('HINCRBY', group_record(id), 'n', -1)
  call('HINCRBY', group_record(id), 'b', minus(parts(cmsgpack.unpack(entry)[1])))
  return true
end

-- What stores without a lease held is held by nobody; but what they may have sent at QoS 2 is nobody else's.
local function take_back(id, mine)
  for _, name in ipairs(call('SMEMBERS', holders(id))) do
    local store = store_of(name)
    if store ~= mine and call('EXISTS', root .. ':w:' .. store) == 0 then
      if name == store then
        call('ZUNIONSTORE', free(id), 2, free(id), held_by(id, name))
      else
        for _, number in ipairs(call('ZRANGE', held_by(id, name), 0, -1)) do drop(id, number) end
      end
      call('UNLINK', held_by(id, name))
      call('SREM', holders(id), name)
    end
  end
end

-- Claim shares: group, at most so many entries and payload bytes, who, milliseconds of its lease. Answers whether there are more,
-- how many were over, and entries.
function ops.shares()
  local id, most, most_bytes, name, lease = take(), tonumber(take()), tonumber(take()), take(), take()
  local retention = call('HGET', group_record(id), 'r')
  if not retention then return {0, 0, {}} end
  take_back(id, name)
  local given, over, bytes = {}, 0, 0
  while true do
    local number = call('ZRANGE', free(id), 0, 0)[1]
    if not number then return {0, over, given} end
    if #given >= most or (bytes >= most_bytes and #given > 0) then return {1, over, given} end
    local entry = cmsgpack.unpack(call('HGET', group_entries(id), number))
    local _, payload, expiry, _, received_at = parts(entry[1])
    if passed(expiry, now) or now - received_at >= retention * 1000 then
      drop(id, number)
      over = over + 1
    else
      call('ZREM', free(id), number)
      hold(id, number, name, lease)
      bytes = bytes + payload
      given[#given + 1] = {number, entry[2], entry[3]}
    end
  end
end

-- Entries that a store holds: group, at most so many, who.
function ops.held()
  local id, most, name = take(), tonumber(take()), take()
  return call('ZRANGE', held_by(id, name), 0, most - 1)
end

-- Held entries were acknowledged: group, entries.
function ops.taken(stop)
  local id = take()
  while at < stop do drop(id, take()) end
end

-- Held entries are held no longer, whoever held them: what one router gave out comes back to another when its slot has moved.
-- Group, entries.
function ops.free(stop)
  local id, names = take(), nil
  while at < stop do
    local number = take()
    if call('HEXISTS', group_entries(id), number) == 1 then
      names = names or call('SMEMBERS', holders(id))
      for _, name in ipairs(names) do call('ZREM', held_by(id, name), number) end
      call('ZADD', free(id), number, number)
    end
  end
end

-- Takes a share out of where it is held, a session's queue or a group's, if it is still there.
local function take_out(where, id, entry)
  if where == 'group' then return drop(id, entry) end
  if #call('XRANGE', queue(id), entry, entry) == 0 then return false end
  forget(id, {entry})
  return true
end

-- Discard a share: "group" or "session", which, its entry.
function ops.discard()
  local where, id, entry = take(), take(), take()
  if fenced then return 'Fenced' end
  return take_out(where, id, entry) and 'ok' or 'Gone'
end

-- Put a share into the outbox: "group" or "session", which, its entry, stamp, session that is to have it (empty for none), group,
-- header, delivery. Answers its id there.
function ops.pass()
  local where, id, entry = take(), take(), take()
  local as, target, group, header, delivery = take(), take(), take(), take(), take()
  if fenced then return 'Fenced' end
  if not take_out(where, id, entry) then return 'Gone' end
  local sent = send(as, target, group, where == 'group' and entry or '', header, delivery, body)
  -- Whoever put it there also fetches it.
  sends = false
  return sent
end
