-- Return the name of the server that runs this script. It changes with a restart (run id) and with a promotion
-- (replication id), so that a server which was replaced and comes back has another name too.
-- An embedded server syncs every write: it keeps the name that the caller gives (`options.server`).
local function server_name(given)
  if given ~= '' then
    return given
  end
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  return run_id .. ':' .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end
