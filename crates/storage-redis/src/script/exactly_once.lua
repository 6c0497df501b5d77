-- What happens once although it is asked for twice: exchanges of QoS 2, and wills.

-- Release: session, token, entries.
function ops.release(stop)
  local id, token = take(), take()
  local refused = refusal(id, token)
  if refused then return refused end
  while at < stop do
    local entry = take()
    local found = call('XRANGE', queue(id), entry, entry)[1]
    if found then
      -- First what a full memory refuses: then nothing is done.
      call('SADD', released(id), entry)
      call('XDEL', queue(id), entry)
      call('HDEL', marks(id), entry)
      call('HINCRBY', session(id), 'b', minus(parts(found[2][2])))
    end
  end
  return 'ok'
end

-- Begin to publish what a session received: session, token, packet identifier, stamp, whether nothing but this has to hold it.
-- Answers the stamp under which it is to be published, which is that of an attempt before; empty when nothing has to be noted
-- (any more).
function ops.receive()
  local id, token, packet_id, candidate, whole = take(), take(), take(), take(), take()
  if fenced then return 'Fenced' end
  local refused = refusal(id, token)
  if refused then return refused end
  -- Nothing of it outlives its connection, which remembers the identifier itself.
  if call('HGET', session(id), 'p') ~= '1' then return '' end
  local known = call('HGET', exchanges(id), packet_id)
  if known == '' then return 'AlreadyDone' end
  if whole == '1' then candidate = '' end
  if not known or whole == '1' then call('HSET', exchanges(id), packet_id, candidate) end
  return whole == '1' and '' or known or candidate
end

-- It is published: session, packet identifier, stamp.
function ops.received()
  local id, packet_id, as = take(), take(), take()
  if call('HGET', exchanges(id), packet_id) == as then call('HSET', exchanges(id), packet_id, '') end
  return 'ok'
end

-- Forget exchanges: session, token, packet identifiers.
function ops.complete(stop)
  local id, token = take(), take()
  local refused = refusal(id, token)
  if refused then return refused end
  while at < stop do call('HDEL', exchanges(id), take()) end
  return 'ok'
end

-- Begin to publish a will: session, whether nothing else has to hold it. Answers its stamp; empty when that was all.
function ops.will()
  local id, whole = take(), take()
  if fenced then return 'Fenced' end
  local as = call('HGET', will_of(id), 't')
  if not as then return 'AlreadyDone' end
  if whole ~= '1' then return as end
  forget_will(id)
  return ''
end

-- It is published: session, stamp.
function ops.willed()
  local id, as = take(), take()
  if call('HGET', will_of(id), 't') ~= as then return 'AlreadyDone' end
  forget_will(id)
  return 'ok'
end
