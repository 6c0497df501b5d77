-- Claims, ends, subscriptions.
local NEVER = 4294967295
local VERSION_KEPT_MS = 3600000

local function attach(id, token)
  local gateway = token:match('^%d+')
  call('SADD', root .. ':g:' .. gateway, id)
  call('SADD', root .. ':gateways', gateway)
end

local function detach(id, token)
  local gateway = token:match('^%d+')
  local members = root .. ':g:' .. gateway
  call('SREM', members, id)
  if call('EXISTS', members) == 0 then call('SREM', root .. ':gateways', gateway) end
end

-- Deletes an unowned session with everything it has. The client id's version number is kept for an hour.
local function wipe(id, when)
  local client = call('HGET', session(id), 'k')
  if not client then return end
  return_shares(id)
  hasten(id, when)
  call('ZREM', root .. ':sessions', id)
  call('ZREM', root .. ':deadlines', id)
  call('UNLINK', session(id), filters(id), queue(id), marks(id), released(id), exchanges(id))
  local record = root .. ':c:' .. client
  if call('HGET', record, 's') == id then
    call('HDEL', record, 's')
    call('PEXPIRE', record, VERSION_KEPT_MS)
  end
end

-- Takes the connection away; the session begins to expire, or goes with it.
local function leave(id, owner, when)
  detach(id, owner)
  local found = call('HMGET', session(id), 'p', 'e')
  local expiry = tonumber(found[2])
  if found[1] ~= '1' or expiry == 0 then return wipe(id, when) end
  return_shares(id)
  local deadline = ''
  if expiry ~= NEVER then
    deadline = int(when + expiry * 1000)
    call('ZADD', root .. ':deadlines', deadline, id)
  end
  call('HSET', session(id), 'o', '', 'a', '', 'w', '', 'u', '', 'x', deadline)
end

-- Notes how a session's client has left; that outlasts the session.
local function note_departure(id, departure)
  local found = call('HMGET', session(id), 'k', 'e')
  call('HSET', root .. ':c:' .. found[1], 'd', departure, 'de', found[2])
end

local function tail_as_sent(id)
  local tail = call('HMGET', session(id), 'tg', 'tn')
  call('HSET', session(id), 'sg', tail[1], 'sn', tail[2])
end

-- The position below the first entry that is there or waits for PUBCOMP; the tail when none is.
local function trimmed(id, tail, waiting)
  local first = call('XRANGE', queue(id), '-', '+', 'COUNT', 1)[1]
  first = first and first[1]
  for _, entry in ipairs(waiting) do
    if not first or above(first, entry) then first = entry end
  end
  if not first then return tail end
  local gen, number = split(first)
  return int(gen) .. '-' .. int(number - 1)
end

-- Packet identifiers of QoS 2 messages that are everywhere and that the client has not released.
local function received(id)
  local all, done = call('HGETALL', exchanges(id)), {}
  for i = 1, #all, 2 do
    if all[i + 1] == '' then done[#done + 1] = all[i] end
  end
  return done
end

-- Claim: client, token, address, clean start, expiry, level, resume across levels, bounds, will, its delay, principal, time,
-- id for a new session, number for the will of the connection that is taken over, how long that waits in milliseconds, number for
-- the will of this one.
function ops.C()
  local client, token, address, clean = take(), take(), take(), take()
  local expiry, level, cross, messages, bytes, secs = tonumber(take()), take(), take(), take(), take(), take()
  local will, delay, principal, when, candidate = take(), take(), take(), tonumber(take()), take()
  local number, waits, own = take(), take(), take()
  local record = root .. ':c:' .. client
  local id = call('HGET', record, 's')
  local version = call('HINCRBY', record, 'v', 1)
  local previous, wiped, resumed = {}, '', false
  if id then
    local found = call('HMGET', session(id), 'o', 'a', 'w', 'p', 'e', 'l', 'x', 'wd')
    local lasts = found[4] == '1' and tonumber(found[5]) > 0 and not passed(found[7], when)
    resumed = clean == '0' and lasts and (found[6] == level or cross == '1')
    if found[1] ~= '' then
      -- Its will is kept, unless the session goes on before the delay has passed.
      local kept = found[3] ~= '' and (found[8] == '0' or not resumed)
      if kept then keep_will(number, found[3], version - 1, when + waits) end
      previous = {found[1], found[2], kept and number or '', kept and found[3] or '', version - 1}
      detach(id, found[1])
      tail_as_sent(id)
    end
    if not resumed then
      wiped = id
      wipe(id, when)
    end
  end
  if resumed then
    call('ZREM', root .. ':deadlines', id)
    pass_by_will(id, when)
  else
    id = candidate
    if call('EXISTS', session(id)) == 1 then error({err = 'ERR session id ' .. id .. ' was given out twice'}) end
    local persistent = expiry > 0 and '1' or '0'
    call('HSET', session(id), 'k', client, 'p', persistent, 'sg', 0, 'sn', 0, 'tg', 0, 'tn', 0, 'n', 0, 'b', 0)
    if expiry > 0 then call('ZADD', root .. ':sessions', id, id) end
    call('HSET', record, 's', id)
    call('PERSIST', record)
  end
  call('HSET', session(id), 'o', token, 'a', address, 'w', will, 'wd', delay, 'wn', token .. ' ' .. own, 'u', principal,
    'e', int(expiry), 'l', level, 'bm', messages, 'bb', bytes, 'bs', secs, 'y', 0, 'x', '')
  attach(id, token)
  local at_end = call('HMGET', session(id), 'tg', 'tn', 'sg', 'sn', 'fs')
  local tail = at_end[1] .. '-' .. at_end[2]
  local subscriptions, waiting = call('HVALS', filters(id)), call('SMEMBERS', released(id))
  local present = resumed and 1 or 0
  return {id, present, subscriptions, trimmed(id, tail, waiting), tail, at_end[3] .. '-' .. at_end[4], version, previous,
    wiped, waiting, received(id), at_end[5] or '', will ~= '' and own or ''}
end

-- End: session, token, expiry, sent (generation, number), when entries were first sent, delay of the will (empty when it is
-- withdrawn), departure (empty when there is none to note), time.
function ops.E()
  local id, token, expiry, gen, number, first_sent = take(), take(), take(), take(), take(), take()
  local delay, departure, when = take(), take(), tonumber(take())
  local refused = refusal(id, token)
  if refused then return refused end
  call('HSET', session(id), 'e', expiry, 'sg', gen, 'sn', number, 'fs', first_sent)
  if delay ~= '' then leave_will(id, delay, when) end
  if departure ~= '' then note_departure(id, departure) end
  leave(id, token, when)
  return 'ok'
end

-- Subscribe: session, token, then filter and subscription of each.
function ops.S(stop)
  local id, token = take(), take()
  local refused = refusal(id, token)
  if refused then return refused end
  if call('HGET', session(id), 'p') ~= '1' then return 'ok' end
  while at < stop do
    local filter, row = take(), take()
    call('HSET', filters(id), filter, row)
  end
  return 'ok'
end

-- Unsubscribe: session, token, filters.
function ops.U(stop)
  local id, token = take(), take()
  local refused = refusal(id, token)
  if refused then return refused end
  while at < stop do call('HDEL', filters(id), take()) end
  return 'ok'
end

local function record(id)
  local found = call('HMGET', session(id), 'k', 'o')
  local version = call('HGET', root .. ':c:' .. found[1], 'v')
  return {id, found[1], found[2] == '' and 0 or 1, call('HVALS', filters(id)), tonumber(version)}
end

-- Persistent sessions: above, at most.
function ops.L()
  local ids = call('ZRANGEBYSCORE', root .. ':sessions', '(' .. take(), '+inf', 'LIMIT', 0, take())
  for i, id in ipairs(ids) do ids[i] = record(id) end
  return ids
end

-- Expire: time, at most.
function ops.X()
  local when = take()
  local ids = call('ZRANGEBYSCORE', root .. ':deadlines', '-inf', when, 'LIMIT', 0, take())
  for i, id in ipairs(ids) do
    ids[i] = record(id)
    wipe(id, tonumber(when))
  end
  return ids
end

-- Orphans: the newest incarnation that is known of, or "inf", those that live, each between spaces, departure, time, at most.
function ops.G()
  local newest, living, departure, when, limit = take(), take(), take(), tonumber(take()), tonumber(take())
  local orphans = {}
  for _, gateway in ipairs(call('SMEMBERS', root .. ':gateways')) do
    local known = newest == 'inf' or tonumber(gateway) <= tonumber(newest)
    if known and not living:find(' ' .. gateway .. ' ', 1, true) and #orphans < limit then
      for _, id in ipairs(call('SRANDMEMBER', root .. ':g:' .. gateway, limit - #orphans)) do
        local found = call('HMGET', session(id), 'k', 'o', 'u', 'wd')
        local version = call('HGET', root .. ':c:' .. found[1], 'v')
        orphans[#orphans + 1] = {found[1], found[2], found[3], tonumber(version)}
        tail_as_sent(id)
        leave_will(id, found[4], when)
        note_departure(id, departure)
        leave(id, found[2], when)
      end
    end
  end
  return orphans
end

-- Who has a client id: client. Empty when nobody is connected and no session is there, or it has expired.
function ops.W()
  local id = call('HGET', root .. ':c:' .. take(), 's')
  if not id then return {} end
  local found = call('HMGET', session(id), 'p', 'e', 'o', 'a', 'x')
  if passed(found[5], now) then return {} end
  return {record(id), tonumber(found[1]), tonumber(found[2]), found[3], found[4]}
end

-- Which sessions are gone, or not their caller's: session and token of each. Answers positions, from 0.
function ops.owners(stop)
  local lost, position = {}, 0
  while at < stop do
    local id, token = take(), take()
    if refusal(id, token) then lost[#lost + 1] = position end
    position = position + 1
  end
  return lost
end

-- How a client left last: client. Departure and session expiry then.
function ops.departure()
  return call('HMGET', root .. ':c:' .. take(), 'd', 'de')
end

-- Delete the session of a client id that nobody is connected under: client.
function ops.O()
  local id = call('HGET', root .. ':c:' .. take(), 's')
  if not id then return {} end
  if call('HGET', session(id), 'o') ~= '' then return 'NotOwner' end
  local deleted = record(id)
  wipe(id, now)
  return deleted
end
