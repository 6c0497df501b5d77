-- The rules queue.
local rules, GROUP = root .. ':rules', 'workers'

local function enqueue(value)
  if call('EXISTS', rules) == 0 then call('XGROUP', 'CREATE', rules, GROUP, '0', 'MKSTREAM') end
  local number = call('HINCRBY', root .. ':meta', 'rule', 1)
  call('XADD', rules, current_generation() .. '-' .. int(number), 'v', value)
end

-- Append: the depth at which it is dropped (empty for never), entry. Answers the depth, negative when it was dropped.
function ops.R()
  local limit, value = take(), take()
  return once('rule', function()
    local depth = call('XLEN', rules)
    if limit ~= '' and depth >= tonumber(limit) then return -depth end
    enqueue(value)
    return depth + 1
  end)
end

-- An id that no entry is above yet and every later one will be.
local function last_rule()
  local meta = call('HMGET', root .. ':meta', 'gen', 'rule')
  return (meta[1] or '0') .. '-' .. (meta[2] or '0')
end

-- Renew a lease: name (empty for none), milliseconds. Answers the depth, the last entry, and the first of the outbox (empty for
-- none).
function ops.H()
  local name, lease = take(), take()
  if name ~= '' then call('SET', root .. ':w:' .. name, '1', 'PX', lease) end
  local waiting = call('XRANGE', outbox, '-', '+', 'COUNT', 1)[1]
  return {call('XLEN', rules), last_rule(), waiting and waiting[1] or ''}
end

-- End a worker's lease: name.
function ops.N()
  call('DEL', root .. ':w:' .. take())
  return 'ok'
end

local function stored(id)
  local found = call('XRANGE', rules, id, id)[1]
  return found and found[2][2]
end

-- What a worker was given and has not got: the answer was lost on its way.
local function give_again(name, held, most, given)
  for _, pending in ipairs(call('XPENDING', rules, GROUP, '-', '+', 1000, name)) do
    if #given < most and not held[pending[1]] then
      local value = stored(pending[1])
      if value then
        given[#given + 1] = {pending[1], pending[4] - 1, value}
      else
        call('XACK', rules, GROUP, pending[1])
      end
    end
  end
end

-- What workers without a lease had claimed.
local function take_over(name, most, given)
  for _, consumer in ipairs(call('XINFO', 'CONSUMERS', rules, GROUP)) do
    local fields = {}
    for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
    local other = fields.name
    if other ~= name and #given < most and call('EXISTS', root .. ':w:' .. other) == 0 then
      if fields.pending == 0 then call('XGROUP', 'DELCONSUMER', rules, GROUP, other) end
      for _, pending in ipairs(call('XPENDING', rules, GROUP, '-', '+', most - #given, other)) do
        local claimed = call('XCLAIM', rules, GROUP, name, 0, pending[1])[1]
        if claimed then
          given[#given + 1] = {pending[1], pending[4], claimed[2][2]}
        else
          call('XACK', rules, GROUP, pending[1])
        end
      end
    end
  end
end

-- Claim: worker, at most so many, then, when an answer may have been lost, "again" and the entries it holds. Answers
-- the last entry and those claimed: how often each was claimed before, and what it is.
function ops.J(stop)
  local name, most, held, given = take(), tonumber(take()), {}, {}
  local again = at < stop and take() == 'again'
  while at < stop do held[take()] = true end
  if call('EXISTS', rules) == 0 then return {'0-0', given} end
  if again then give_again(name, held, most, given) end
  take_over(name, most, given)
  if #given < most then
    local new = call('XREADGROUP', 'GROUP', GROUP, name, 'COUNT', most - #given, 'STREAMS', rules, '>')
    for _, entry in ipairs(new and new[1][2] or {}) do
      given[#given + 1] = {entry[1], 0, entry[2][2]}
    end
  end
  return {last_rule(), given}
end

-- Acknowledge: entries. Answers the depth.
function ops.K(stop)
  while at < stop do
    local id = take()
    call('XACK', rules, GROUP, id)
    call('XDEL', rules, id)
  end
  return call('XLEN', rules)
end

-- Bury a claimed entry: entry, reason, time, dead letters to keep. Answers how many old ones went.
function ops.D()
  local id, reason, when, most = take(), take(), take(), tonumber(take())
  local pending = call('EXISTS', rules) == 1 and call('XPENDING', rules, GROUP, id, id, 1)[1]
  if not pending then return 0 end
  local value = stored(id)
  call('XACK', rules, GROUP, id)
  call('XDEL', rules, id)
  if not value then return 0 end
  call('HSET', root .. ':letters', id, cmsgpack.pack({reason, when, pending[4] - 1, value}))
  call('ZADD', root .. ':dead', when, id)
  local over = call('ZCARD', root .. ':dead') - most
  if over <= 0 then return 0 end
  for _, old in ipairs(call('ZRANGE', root .. ':dead', 0, over - 1)) do
    call('HDEL', root .. ':letters', old)
    call('ZREM', root .. ':dead', old)
  end
  return over
end

-- Dead letters: from and to which one, by time.
function ops.B()
  local letters = {}
  for i, id in ipairs(call('ZRANGE', root .. ':dead', take(), take())) do
    local letter = cmsgpack.unpack(call('HGET', root .. ':letters', id))
    letters[i] = {id, letter[1], letter[2], letter[3], letter[4]}
  end
  return letters
end

-- Redrive: entry. Answers whether there was such a dead letter.
function ops.Z()
  local id = take()
  local letter = call('HGET', root .. ':letters', id)
  if not letter then return 0 end
  call('HDEL', root .. ':letters', id)
  call('ZREM', root .. ':dead', id)
  enqueue(cmsgpack.unpack(letter)[4])
  return 1
end

-- Forget a dead letter: entry. Answers whether there was one.
function ops.letter()
  local id = take()
  call('ZREM', root .. ':dead', id)
  return call('HDEL', root .. ':letters', id)
end
