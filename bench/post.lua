-- Each request is another event: the token in the path, a new build number in the body.
local id, n = 0, 0
function setup(thread) thread:set("id", id); id = id + 1 end
function init(args) path = args[1]; n = 0; seed = args[2] end
function request()
  n = n + 1
  local body = '{"action":"应用更新","title":"OooPlay","link":"https://www.pgyer.com/oooplay",'
    .. '"type":"updateVersion","os_version":"2.4","build_version":"' .. seed .. "-" .. id .. "-" .. n
    .. '","created":"2026-11-20 10:02:11","timestamp":1795140131,"appsize":"2238036",'
    .. '"device_type":"iOS","notes":"修复了若干问题"}'
  return wrk.format("POST", path, {["Content-Type"] = "application/json"}, body)
end
