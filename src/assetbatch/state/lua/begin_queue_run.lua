-- Return the queue's figures for a run of it and, where nothing is in the queue, how many spare calls there are.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, owner, spare (see _spare.lua),
--       the seven keys of the window (see _window.lua)
-- ARGV: options { now_ms, server, window: its options (see _window.lua), spare: its options (see _spare.lua) }
-- Returns: what queue_state.lua returns, and the number of spare calls
--@include _clock.lua
--@include _server.lua
--@include _blocks.lua
--@include _window.lua
--@include _reservations.lua
--@include _figures.lua
--@include _spare.lua
local options = cmsgpack.unpack(ARGV[1])
local answer = queue_figures(KEYS, options)
local calls = 0
if answer[2] == 0 then
  calls = add_spare_calls(KEYS[12], window_of(KEYS, 13, options.window), clock_ms(options), options.spare)
end
answer[#answer + 1] = calls
return answer
