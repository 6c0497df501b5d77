-- Retained messages.
local SCANNED = 1024

local function forget_retained(scope, topic)
  call('HDEL', root .. ':r:' .. scope, topic)
  call('HDEL', root .. ':x:' .. scope, topic)
  call('ZREM', root .. ':t:' .. scope, topic)
end

-- Set: scope, topic, expiry, message.
function ops.V()
  local scope, topic, expiry, message = take(), take(), take(), take()
  return once('retained', function()
    call('HSET', root .. ':r:' .. scope, topic, message)
    call('ZADD', root .. ':t:' .. scope, 0, topic)
    if expiry == '' then
      call('HDEL', root .. ':x:' .. scope, topic)
    else
      call('HSET', root .. ':x:' .. scope, topic, expiry)
    end
    return 'ok'
  end)
end

-- Clear: scope, topic.
function ops.F()
  local scope, topic = take(), take()
  return once('retained', function()
    forget_retained(scope, topic)
    return 'ok'
  end)
end

-- Get: scope, topic. Empty when there is none, or when it has expired.
function ops.Y()
  local scope, topic = take(), take()
  if passed(call('HGET', root .. ':x:' .. scope, topic) or '', now) then return '' end
  return call('HGET', root .. ':r:' .. scope, topic) or ''
end

-- Whether a topic matches a filter [MQTT 4.7], as a function of the topic; the empty filter stands for all topics.
local function matcher(filter)
  if filter == '' then return function() return true end end
  local levels = {}
  for level in (filter .. '/'):gmatch('([^/]*)/') do levels[#levels + 1] = level end
  local wild = levels[1] == '+' or levels[1] == '#'
  return function(topic)
    if wild and topic:sub(1, 1) == '$' then return false end
    local position = 0
    for level in (topic .. '/'):gmatch('([^/]*)/') do
      position = position + 1
      local wanted = levels[position]
      if wanted == '#' then return true end
      if wanted ~= '+' and wanted ~= level then return false end
    end
    return position == #levels or (position + 1 == #levels and levels[#levels] == '#')
  end
end

-- Page: scope, filter, where to start (a bound of ZRANGEBYLEX), what all topics begin with, at most so many.
-- Answers whether that was all, where to go on, and the topics.
function ops.P()
  local scope, filter, from, prefix, most = take(), take(), take(), take(), tonumber(take())
  local matches, topics, scanned, done = matcher(filter), {}, 0, false
  while not done and #topics < most and scanned < SCANNED do
    local chunk = call('ZRANGEBYLEX', root .. ':t:' .. scope, from, '+', 'LIMIT', 0, 128)
    done = #chunk == 0
    for _, topic in ipairs(chunk) do
      done = topic:sub(1, #prefix) ~= prefix
      if done or #topics >= most then break end
      scanned, from = scanned + 1, '(' .. topic
      if matches(topic) then
        if passed(call('HGET', root .. ':x:' .. scope, topic) or '', now) then
          forget_retained(scope, topic)
        else
          topics[#topics + 1] = topic
        end
      end
    end
  end
  return {done and 1 or 0, from, topics}
end
