-- Carries out the operations. A batch that was carried out before, whose answer was lost, changes nothing again: its
-- changes answer what they answered then, and what only reads reads anew.
local DONE_KEPT_MS = 600000
local READS = {Q = true, Y = true, tails = true, owners = true}
local SILENT = {
  M = true, T = true, forgo = true, stamp = true, fade = true, sent = true, close = true, unknow = true, taken = true, free = true,
}

local done = root .. ':done:' .. ARGV[2]
local batch, before, changes, replies = ARGV[3], nil, {}, {}
if batch ~= '' then
  local last = call('GET', done)
  last = last and cmsgpack.unpack(last)
  if last and last[1] == batch then
    before = last[2]
    -- Also a write, without which WAIT on a new connection would wait for nothing.
    call('PEXPIRE', done, DONE_KEPT_MS)
  elseif last and tonumber(batch) < tonumber(last[1]) then
    -- Sent long ago on a connection that its producer has given up.
    error({err = 'STALE the producer is past this batch'})
  end
end

local changed = 0
while at < #ARGV do
  local code, count = take(), tonumber(take())
  local stop, reply = at + count, nil
  if READS[code] then
    reply = ops[code](stop)
  elseif before then
    if not SILENT[code] then
      changed = changed + 1
      reply = before[changed]
    end
  else
    reply = ops[code](stop)
    if reply ~= nil then changes[#changes + 1] = reply end
  end
  at = stop
  if reply ~= nil then replies[#replies + 1] = reply end
end
if batch ~= '' and not before then
  call('SET', done, cmsgpack.pack({batch, changes}), 'PX', DONE_KEPT_MS)
end
-- What was sent before an answer was lost may still be there.
sends = sends or (before and call('EXISTS', outbox) == 1)
replies[#replies + 1] = sends and 1 or 0
return replies
