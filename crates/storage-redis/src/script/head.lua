-- One call carries out everything that a batch asks of one partition.
--
-- KEYS[1]  the partition's root; every key below begins with it and so lies in its Redis slot
-- ARGV     replication id of the primary, producer, batch number (empty: nothing to remember), the store's time in
--          milliseconds, then operations: a code, how many arguments follow, the arguments
--
-- Answers the replies of the operations, then whether the outbox holds something that this call put there.
--
-- Keys below the root:
--   meta        hash: replid (replication id of the primary), gen (generation), rule (last rule entry)
--   done:P      producer P's last batch: its number and its replies, for a while
--   st:STAMP    hash: what was done under a stamp -> its reply, for a while
--   c:CLIENT    hash of a client id (account:region:id): v (version number), s (session, while there is one), d de (how its last
--               connection ended, session expiry then, s)
--   s:ID        hash of a session: k (CLIENT), p (persistent), e (expiry, s), l (protocol level), bm bb bs (bounds:
--               messages, bytes, seconds or empty), y (until then nothing at the front of the queue is too old), o (owner, incarnation:counter), a (its address), w wd wn (will, its delay, s, owner and
--               number), lw (number of the will that the last connection left), u (principal),
--               x (expires at, ms), sg sn (sent), fs (when entries were first sent), tg tn (tail), n b (messages and bytes in the queue)
--   f:ID        hash: filter -> subscription            q:ID  stream: the queue, an entry's id is generation-number
--   k:ID        hash: entry that is a share -> its group
--   z:ID        set: entries whose client has the message, waiting for PUBCOMP
--   e:ID        hash: packet identifier of a QoS 2 exchange -> the stamp of its message, empty when that is everywhere
--   l:ID        hash of a will that waits: m (will), t (its stamp)         due  those sessions, by time
--   sessions    persistent ones, by id                  deadlines  those that expire, by time
--   gateways    incarnations with live sessions         g:N   sessions owned by incarnation N
--   out         stream: shares on their way to another partition
--   groups      set: all groups of all partitions       grouplist  those of this partition, by id
--   groupkeys   hash: account:region:key -> the group of this partition
--   gr:ID       hash of a group: k (account:region:key), bm bb (bounds), r (retention, s), n b (as above), front, back (first and
--               last number given), g (generation they were given in)
--   gm:ID       hash: number -> entry                   gf:ID  entries that nobody holds, by number
--   gh:ID       set: stores that hold entries           gh:ID:NAME  what one of them holds, by number (NAME!: at QoS 2)
--   r:SCOPE     hash: topic -> retained message         t:SCOPE  its topics    x:SCOPE  expiry of those that have one
--   fences      hash: topic slot -> the epoch below which nothing is written
--   rules       stream of rule entries, group "workers" w:NAME   lease of a worker, or of a store that holds shares
--   dead        dead letters, by time                   letters  hash: rule entry -> dead letter
--
-- Numbers that may exceed 2^53 (tokens, addresses, epochs) are text here and never calculated with.
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

-- What counts down by `number`, which may be none: Redis takes no "-0".
local function minus(number)
  return int(0 - number)
end

local ops = {}

-- The generation of ids given out now. It grows when the primary has another replication id than at the last write:
-- what the old primary had not replicated is gone, and its ids must not be given out again. A partition that moves between
-- the nodes of a cluster, which have one each, begins one, too.
local generation
local function current_generation()
  if not generation then
    local meta = call('HMGET', root .. ':meta', 'replid', 'gen')
    if meta[1] == replid then
      generation = meta[2]
    elseif call('INFO', 'replication'):match('master_replid:(%w+)') ~= replid then
      error({err = 'STALE the connection knows an earlier replication id'})
    else
      generation = meta[2] and int(tonumber(meta[2]) + 1) or '0'
      call('HSET', root .. ':meta', 'replid', replid, 'gen', generation)
    end
  end
  return generation
end

local function passed(moment, time)
  return moment ~= '' and tonumber(moment) <= time
end
