-- Wills whose connection has ended: they wait for their delay, and until they are published.
local due = root .. ':due'

local function will_of(id) return root .. ':l:' .. id end

-- Keeps the will of a client id's connection, of that version number, under a number of its own.
local function keep_will(number, will, version, when)
  call('HSET', will_of(number), 'm', will, 't', 'w:' .. number .. ':' .. version)
  call('ZADD', due, int(when), number)
end

-- The number that the claim of a session's owner was given for its will. An earlier version gave none: the session's stood for it.
local function number_for_will(id, owner, noted)
  local of, number = (noted or ''):match('^(%S+) (%d+)$')
  return of == owner and number or id
end

-- The connection of a session is over: its will, if it has one, waits so many seconds from then on.
local function leave_will(id, delay, when)
  local found = call('HMGET', session(id), 'w', 'k', 'o', 'wn')
  if found[1] == '' then return end
  local number = number_for_will(id, found[3], found[4])
  keep_will(number, found[1], call('HGET', root .. ':c:' .. found[2], 'v'), when + delay * 1000)
  call('HSET', will_of(number), 'd', delay)
  call('HSET', session(id), 'lw', number)
end

-- The will that the last connection of a session left.
local function left_will(id)
  return call('HGET', session(id), 'lw') or id
end

local function forget_will(id)
  call('DEL', will_of(id))
  call('ZREM', due, id)
end

-- The session is resumed: its will is not published if it still waits for its delay [MQTT-3.1.3-9]; one that is due is, whatever
-- becomes of the next connection, and one without a delay is whatever the clock says of the gateway that asks.
local function pass_by_will(id, when)
  local number = left_will(id)
  local waits = call('ZSCORE', due, number)
  if waits and tonumber(waits) > when and call('HGET', will_of(number), 'd') ~= '0' then forget_will(number) end
  call('HDEL', session(id), 'lw')
end

-- The session is over, and with it the wait [MQTT5 section 3.1.3.2.2].
local function hasten(id, when)
  local number = left_will(id)
  local waits = call('ZSCORE', due, number)
  if waits and tonumber(waits) > when then call('ZADD', due, int(when), number) end
end

-- Wills that are due: time, at most.
function ops.due()
  local wills, found = {}, call('ZRANGEBYSCORE', due, '-inf', take(), 'WITHSCORES', 'LIMIT', 0, take())
  for i = 1, #found, 2 do
    wills[#wills + 1] = {found[i + 1], found[i], call('HGET', will_of(found[i]), 'm')}
  end
  return wills
end

-- Withdraw a will of its own number: number.
function ops.forgo()
  forget_will(take())
end

-- Withdraw the will that waits: client.
function ops.withdraw()
  local id = call('HGET', root .. ':c:' .. take(), 's')
  if id then forget_will(left_will(id)) end
  return 'ok'
end
