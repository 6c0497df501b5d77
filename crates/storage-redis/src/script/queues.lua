-- Session queues.
local CHUNK = 64
-- Longer than any script takes.
local LASTS_MS = 3600000

-- The message that following appends are of.
local body
function ops.M()
  body = take()
end

local function has_room(messages, bytes, cost, most_messages, most_bytes)
  return messages + 1 <= tonumber(most_messages) and bytes + cost <= tonumber(most_bytes)
end

-- Append: session, header, cost, delivery.
function ops.A()
  local id, header, cost, delivery = take(), take(), tonumber(take()), take()
  return once(id, function()
    local found = call('HMGET', session(id), 'p', 'x', 'n', 'b', 'bm', 'bb', 'tg', 'tn')
    if found[1] ~= '1' or passed(found[2], now) then return 'none' end
    if not has_room(found[3], found[4], cost, found[5], found[6]) then
      make_room(id)
      local left = call('HMGET', session(id), 'n', 'b')
      if not has_room(left[1], left[2], cost, found[5], found[6]) then return 'full' end
    end
    return append(id, {found[7], found[8]}, header, cost, delivery, body)
  end)
end

-- Append as the member's share, if it is there and has room: session, header, cost, delivery, group.
function ops.share()
  local id, header, cost, delivery, group = take(), take(), tonumber(take()), take(), take()
  return once(group .. ':' .. id, function()
    if call('SISMEMBER', groups, group) == 0 then return 'none' end
    local found = call('HMGET', session(id), 'p', 'o', 'n', 'b', 'bm', 'bb', 'tg', 'tn')
    if not found[2] or found[2] == '' then return 'wait' end
    if found[1] ~= '1' then return 'held' end
    if not has_room(found[3], found[4], cost, found[5], found[6]) then return 'wait' end
    return append(id, {found[7], found[8]}, header, cost, delivery, body, group)
  end)
end

-- Trim: session, token, entries.
function ops.T(stop)
  local id, token, entries = take(), take(), {}
  while at < stop do entries[#entries + 1] = take() end
  if not refusal(id, token) then forget(id, entries) end
end

-- Read: session, token, after, at most so many entries and payload bytes.
function ops.Q()
  local id, token, from = take(), take(), '(' .. take()
  local most, most_bytes = tonumber(take()), tonumber(take())
  local refused = refusal(id, token)
  if refused then return refused end
  local found = call('HMGET', session(id), 'tg', 'tn', 'sg', 'sn', 'bs')
  local tail, sent, secs = found[1] .. '-' .. found[2], found[3] .. '-' .. found[4], found[5]
  local read, expired, bytes, full = {}, {}, 0, most == 0
  while not full do
    local chunk = call('XRANGE', queue(id), from, '+', 'COUNT', math.min(CHUNK, most - #read))
    if #chunk == 0 then break end
    for _, entry in ipairs(chunk) do
      full = #read >= most or (#read > 0 and bytes >= most_bytes)
      if full then break end
      local _, payload = parts(entry[2][2])
      if is_over(entry[1], entry[2][2], sent, secs) then
        expired[#expired + 1] = entry[1]
      else
        bytes = bytes + payload
        read[#read + 1] = {entry[1], entry[2][4], entry[2][6]}
      end
      from = '(' .. entry[1]
    end
    full = full or #read >= most
  end
  forget(id, expired)
  return {tail, #expired, read}
end

-- Whether an entry that was read is still there, by the same history: session, token, entry. On the way something is written that
-- needs no memory and leaves nothing, so that whoever has that (WAIT, WAITAOF) has what was read, too.
function ops.lasts()
  local id, token, entry = take(), take(), take()
  local refused = refusal(id, token)
  if refused then return refused end
  call('PEXPIRE', session(id), LASTS_MS)
  call('PERSIST', session(id))
  return #call('XRANGE', queue(id), entry, entry) == 1 and 'ok' or 'gone'
end

-- Tails of queues, empty where there is none: sessions.
function ops.tails(stop)
  local tails = {}
  while at < stop do
    local tail = call('HMGET', session(take()), 'tg', 'tn')
    tails[#tails + 1] = tail[1] and tail[1] .. '-' .. tail[2] or ''
  end
  return tails
end
