-- Entries of session queues, and those on their way to another partition.
local function session(id) return root .. ':s:' .. id end
local function filters(id) return root .. ':f:' .. id end
local function queue(id) return root .. ':q:' .. id end
local function marks(id) return root .. ':k:' .. id end
local function released(id) return root .. ':z:' .. id end
local function exchanges(id) return root .. ':e:' .. id end
local outbox, groups = root .. ':out', root .. ':groups'

-- Entries looked at in one go for room in a queue.
local ROOM = 64

-- Whether this call has put something into the outbox.
local sends = false

-- Why `token` may not write to the session; nil when it owns it.
local function refusal(id, token)
  local owner = call('HGET', session(id), 'o')
  if not owner then return 'NoSession' end
  if owner ~= token then return 'NotOwner' end
end

-- Parts of a header: cost, payload bytes, expiry, QoS, when it was received.
local function parts(header)
  return header:match('^(%d+):(%d+):(%d*):(%d):(%d+)$')
end

local function split(entry)
  local gen, number = entry:match('^(%d+)-(%d+)$')
  return tonumber(gen), tonumber(number)
end

-- Whether an entry comes after another.
local function above(entry, other)
  local gen, number = split(entry)
  local other_gen, other_number = split(other)
  return gen > other_gen or (gen == other_gen and number > other_number)
end

-- Adds an entry to a queue whose fields tg and tn are known; answers its id and the one before.
local function append(id, tail, header, cost, delivery, body, group)
  local gen, number = current_generation(), int(tail[2] + 1)
  local entry = gen .. '-' .. number
  if group then
    call('XADD', queue(id), entry, 'h', header, 'd', delivery, 'm', body, 'g', group)
    call('HSET', marks(id), entry, group)
  else
    call('XADD', queue(id), entry, 'h', header, 'd', delivery, 'm', body)
  end
  call('HSET', session(id), 'tg', gen, 'tn', number)
  call('HINCRBY', session(id), 'n', 1)
  call('HINCRBY', session(id), 'b', cost)
  return entry .. ' ' .. tail[1] .. '-' .. tail[2]
end

-- Deletes entries of exactly these ids; those that are not there are passed over.
local function forget(id, entries)
  local messages, bytes = 0, 0
  for _, entry in ipairs(entries) do
    local found = call('XRANGE', queue(id), entry, entry)[1]
    if found then
      call('XDEL', queue(id), entry)
      if found[2][8] then call('HDEL', marks(id), entry) end
      messages = messages + 1
      bytes = bytes + parts(found[2][2])
    else
      messages = messages + call('SREM', released(id), entry)
    end
  end
  if messages == 0 then return end
  call('HINCRBY', session(id), 'b', minus(bytes))
  if call('HINCRBY', session(id), 'n', minus(messages)) == 0 then call('UNLINK', queue(id)) end
end

-- Whether an entry is not delivered any more: it has expired, or waited for too long. One of QoS 2 that may have been sent is:
-- its exchange is carried to its end.
local function is_over(entry, header, sent, secs)
  local _, _, expiry, qos, received_at = parts(header)
  if qos == '2' and not above(entry, sent) then return false end
  return passed(expiry, now) or (secs ~= '' and received_at + secs * 1000 <= now)
end

-- Makes room in the queue of a session without a connection: drops what is over at its front. Messages came in about that order;
-- what is missed goes when it is read.
local function make_room(id)
  local found = call('HMGET', session(id), 'o', 'bs', 'y', 'sg', 'sn')
  local secs = found[2]
  if found[1] ~= '' or secs == '' or tonumber(found[3]) > now then return end
  local sent, young_until, from = found[4] .. '-' .. found[5], now, '-'
  for _ = 1, ROOM do
    local entry = call('XRANGE', queue(id), from, '+', 'COUNT', 1)[1]
    if not entry then break end
    if not is_over(entry[1], entry[2][2], sent, secs) then
      local _, _, _, _, received_at = parts(entry[2][2])
      young_until = received_at + secs * 1000
      break
    end
    forget(id, {entry[1]})
    from = '(' .. entry[1]
  end
  call('HSET', session(id), 'y', int(young_until))
end

-- Puts a share into the outbox: for a session, if that can take it, or else for the group's queue, under the number that it had
-- there or, when that is empty, at its front.
local function send(as, target, group, number, header, delivery, body)
  sends = true
  return call('XADD', outbox, '*', 's', as, 't', target, 'g', group, 'p', number, 'h', header, 'd', delivery, 'm', body)
end

-- A member leaves: its shares go back to their groups, the newest first, as each goes to the front. A QoS 2 message that may have
-- been sent stays [MQTT-4.8.2-5], and so does what belongs to a group that is gone.
local function return_shares(id)
  local all, entries, group_of = call('HGETALL', marks(id)), {}, {}
  if #all == 0 then return end
  for i = 1, #all, 2 do
    entries[#entries + 1] = all[i]
    group_of[all[i]] = all[i + 1]
  end
  table.sort(entries, above)
  local sent = call('HMGET', session(id), 'sg', 'sn')
  local last = sent[1] .. '-' .. sent[2]
  for _, entry in ipairs(entries) do
    local found = call('XRANGE', queue(id), entry, entry)[1]
    if found and call('SISMEMBER', groups, group_of[entry]) == 1 then
      local _, _, _, qos = parts(found[2][2])
      if qos ~= '2' or above(entry, last) then
        send('r:' .. id .. ':' .. entry, '', group_of[entry], '', found[2][2], found[2][4], found[2][6])
        forget(id, {entry})
      end
    end
  end
end

-- What is on its way: at most.
function ops.outbox()
  local waiting = call('XRANGE', outbox, '-', '+', 'COUNT', take())
  for i, entry in ipairs(waiting) do
    local fields = entry[2]
    waiting[i] = {entry[1], fields[2], fields[4], fields[6], fields[8], fields[10], fields[12], fields[14]}
  end
  return waiting
end

-- It has arrived: ids in the outbox.
function ops.sent(stop)
  while at < stop do call('XDEL', outbox, take()) end
  if call('XLEN', outbox) == 0 then call('UNLINK', outbox) end
end
