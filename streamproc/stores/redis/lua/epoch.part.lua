-- Begins an epoch of the ledger, which balances: its base is what was added before and is no concern of it. The one
-- that ends stays in the ledger as JSON, field epoch:<number>, with what else `ended` says of it.
local TERMS = { 'counted', 'duplicates', 'dead_lettered', 'erased', 'forwarded', 'lost', 'epoch_base', 'epoch_reason' }
local function begin_epoch(ledger, base, reason, ended)
  local epoch = tonumber(redis.call('HGET', ledger, 'epoch') or '0')
  if epoch > 0 then
    for _, term in ipairs(TERMS) do ended[term] = redis.call('HGET', ledger, term) or '0' end
    redis.call('HSET', ledger, 'epoch:' .. epoch, cjson.encode(ended))
  end
  redis.call('HDEL', ledger, unpack(TERMS))
  redis.call('HSET', ledger, 'epoch', epoch + 1, 'epoch_base', base, 'epoch_reason', reason)
end
