-- What keeps something from being done by the wrong one, or twice.

-- Whether what follows was matched by a router that is no owner of its topic's slot any more: it is not to be written.
local fenced = false

-- Whether an epoch is below another; they may exceed 2^53.
local function below(epoch, other)
  return #epoch < #other or (#epoch == #other and epoch < other)
end

-- Guard what follows: topic slot and epoch, empty for what no slot's owner has matched.
function ops.guard()
  local slot, epoch = take(), take()
  local raised = slot ~= '' and call('HGET', root .. ':fences', slot)
  fenced = raised and below(epoch, raised)
  return fenced and 'Fenced' or 'ok'
end

-- Raise fences: topic slot and epoch of each. Each is written, also one that stands already, so that WAIT has something to
-- wait for.
function ops.raise(stop)
  local answer = 'ok'
  while at < stop do
    local slot, epoch = take(), take()
    local raised = call('HGET', root .. ':fences', slot)
    if raised and below(epoch, raised) then
      answer = 'Fenced'
    else
      call('HSET', root .. ':fences', slot, epoch)
    end
  end
  return answer
end

-- The stamp of what follows, empty for none: what was done under it before answers what it answered then.
local stamp = ''
local STAMP_KEPT_MS = 604800000

function ops.stamp()
  stamp = take()
end

-- Does it, unless it was done under this stamp before.
local function once(what, act)
  if fenced then return 'Fenced' end
  if stamp == '' then return act() end
  local key = root .. ':st:' .. stamp
  local known = call('HGET', key, what)
  if known then return known end
  local answer = act()
  call('HSET', key, what, answer)
  call('PEXPIRE', key, STAMP_KEPT_MS)
  return answer
end

-- It is done everywhere: stamp, how long it is remembered for those that were about to do it too, in milliseconds.
function ops.fade()
  call('PEXPIRE', root .. ':st:' .. take(), take())
end
