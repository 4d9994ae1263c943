-- What wrk sends: one request for each line of a file of bodies, round and round.
-- Arguments: the file of bodies, the API token.

local requests, position = {}, 0

function init(arguments)
   wrk.headers["Authorization"] = "Bearer " .. arguments[2]
   for body in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("POST", nil, nil, body)
   end
end

function request()
   position = position % #requests + 1
   return requests[position]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests":%d,"microseconds":%d,"median_microseconds":%d,"p99_microseconds":%d,',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99)))
   io.write(string.format('"errors":%d}\n',
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
