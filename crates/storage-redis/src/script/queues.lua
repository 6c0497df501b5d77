-- Session queues.
local CHUNK = 64

-- The message that following appends are of.
local body
function ops.M()
  body = take()
end

local function expiry_of(entry)
  return entry[2][2]:match('^%d+:%d+:(%d*)$')
end

-- The header of an entry that is over when its message expires, or `secs` from now.
local function bounded(header, secs)
  local over = int(now + secs * 1000)
  local front, expiry = header:match('^(%d+:%d+:)(%d*)$')
  if expiry ~= '' and tonumber(expiry) <= tonumber(over) then return header end
  return front .. over
end

local forget

-- Drops what is over at the front of the queue.
local function make_room(id)
  local over = {}
  for _, entry in ipairs(call('XRANGE', queue(id), '-', '+', 'COUNT', CHUNK)) do
    if not passed(expiry_of(entry), now) then break end
    over[#over + 1] = entry[1]
  end
  forget(id, over)
end

-- Append: session, header (cost:payload bytes:expiry), cost, delivery.
function ops.A()
  local id, header, cost, delivery = take(), take(), tonumber(take()), take()
  if fenced then return 'Fenced' end
  local found = call('HMGET', session(id), 'p', 'x', 'n', 'b', 'bm', 'bb', 'tg', 'tn', 'bs', 'o')
  if found[1] ~= '1' or passed(found[2], now) then return 'none' end
  local function full()
    return found[3] + 1 > tonumber(found[5]) or found[4] + cost > tonumber(found[6])
  end
  if found[9] and found[9] ~= '' then
    header = bounded(header, tonumber(found[9]))
    if full() and found[10] == '' then
      make_room(id)
      found[3], found[4] = unpack(call('HMGET', session(id), 'n', 'b'))
    end
  end
  if full() then return 'full' end
  local messages, bytes = found[3] + 1, found[4] + cost
  local gen, number = current_generation(), int(found[8] + 1)
  local entry = gen .. '-' .. number
  call('XADD', queue(id), entry, 'h', header, 'd', delivery, 'm', body)
  call('HSET', session(id), 'n', int(messages), 'b', int(bytes), 'tg', gen, 'tn', number)
  return entry .. ' ' .. found[7] .. '-' .. found[8]
end

-- Deletes entries of exactly these ids; those that are not there are passed over.
forget = function(id, entries)
  local messages, bytes = 0, 0
  for _, entry in ipairs(entries) do
    local found = call('XRANGE', queue(id), entry, entry)[1]
    if found then
      call('XDEL', queue(id), entry)
      messages = messages + 1
      bytes = bytes + found[2][2]:match('^%d+')
    end
  end
  if messages == 0 then return end
  call('HINCRBY', session(id), 'b', int(-bytes))
  if call('HINCRBY', session(id), 'n', -messages) == 0 then call('UNLINK', queue(id)) end
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
  local read, expired, bytes, full = {}, {}, 0, most == 0
  while not full do
    local chunk = call('XRANGE', queue(id), from, '+', 'COUNT', math.min(CHUNK, most - #read))
    if #chunk == 0 then break end
    for _, entry in ipairs(chunk) do
      full = #read >= most or (#read > 0 and bytes >= most_bytes)
      if full then break end
      local payload, expiry = entry[2][2]:match('^%d+:(%d+):(%d*)$')
      if passed(expiry, now) then
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
  local tail = call('HMGET', session(id), 'tg', 'tn')
  return {tail[1] .. '-' .. tail[2], #expired, read}
end
