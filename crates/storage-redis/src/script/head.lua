-- One call carries out everything that a batch asks of one partition.
--
-- KEYS[1]  the partition's root; every key below begins with it and so lies in its Redis slot
-- ARGV     replication id of the primary, producer, batch number (empty: nothing to remember), the store's time in
--          milliseconds, then operations: a code, how many arguments follow, the arguments
--
-- Keys below the root:
--   meta        hash: replid, previous (replication ids), gen (generation), rule (last rule entry)
--   done:P      producer P's last batch: its number and its replies, for a while
--   c:CLIENT    hash of a client id (account:region:id): v (version number), s (session, while there is one)
--   s:ID        hash of a session: k (CLIENT), p (persistent), e (expiry, s), l (protocol level), bm bb bs (bounds;
--               bs in seconds, or empty),
--               o (owner, incarnation:counter), a (its address), w (will), u (principal), x (expires at, ms),
--               sg sn (sent), tg tn (tail), n b (messages and bytes in the queue)
--   f:ID        hash: filter -> subscription            q:ID  stream: the queue, an entry's id is generation-number
--   sessions    persistent ones, by id                  deadlines  those that expire, by time
--   gateways    incarnations with live sessions         g:N   sessions owned by incarnation N
--   r:SCOPE     hash: topic -> retained message         t:SCOPE  its topics    x:SCOPE  expiry of those that have one
--   fences      hash: topic slot -> the epoch below which nothing is written
--   rules       stream of rule entries, group "workers" w:NAME   lease of a worker
--   dead        dead letters, by time                   letters  hash: rule entry -> dead letter
--
-- Numbers that may exceed 2^53 (tokens, addresses) are text here and never calculated with.
local call = redis.call
local root, replid, now = KEYS[1], ARGV[1], tonumber(ARGV[4])
local at = 4

local function take()
  at = at + 1
  return ARGV[at]
end

local function int(number)
  return string.format('%.0f', number)
end

local ops = {}

-- The generation of ids given out now. It grows when the primary has another replication id than at the last write:
-- what the old primary had not replicated is gone, and its ids must not be given out again.
local generation
local function current_generation()
  if not generation then
    local meta = call('HMGET', root .. ':meta', 'replid', 'gen', 'previous')
    if meta[1] == replid then
      generation = meta[2]
    elseif meta[3] == replid then
      error({err = 'STALE the connection knows an earlier replication id'})
    else
      generation = meta[2] and int(tonumber(meta[2]) + 1) or '0'
      call('HSET', root .. ':meta', 'replid', replid, 'gen', generation, 'previous', meta[1] or '')
    end
  end
  return generation
end

-- Whether what follows was matched by a router that is no owner of its topic's slot any more: it is not to be written.
local fenced = false

-- Whether an epoch is below another; they may exceed 2^53.
local function below(epoch, other)
  return #epoch < #other or (#epoch == #other and epoch < other)
end

-- Guard what follows: topic slot and epoch, empty for what is matched by no router's slot.
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

local function passed(moment, time)
  return moment ~= '' and tonumber(moment) <= time
end
