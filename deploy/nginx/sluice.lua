-- Sluice in nginx without reloads: the split lives in a shared dict, so a change is in force for the next request of
-- every worker, and no connection is closed. `lua.conf` beside this file shows what an operator writes.
--
-- One JSON document a service, flat, written by Sluice and kept as text: "route:<service>" in the dict, and
-- `<folder>/<service>.json` on disk, because the dict outlives a reload but not a restart. A document is on disk before
-- it is in force, except the way back (weight 0), which never waits for a disk. Should the two differ after a crash or
-- while the disk was full, the one with the newer epoch wins within a second.

local document = require "sluice_document"
local ffi = require "ffi"
local add_header = require("ngx.resp").add_header

local _M = {}
local checked, quoted, tag = document.checked, document.quoted, document.tag
local WHOLE = 10000 -- weights are hundredths of a percent
local LOCK_S, LOCK_TRIES, LOCK_POLL_S = 10, 400, 0.005
local SYNC_S = 1
local dict, folder
local services = {} -- name -> {candidate, stable, weight = 0}: what holds until Sluice has written
local decoded = {} -- of this worker: name -> the document in force, as a table
local flights = {} -- of this worker: pool -> key of its counter

for _, declaration in ipairs {
    "int kill(int, int);", "int getpid(void);", "int fileno(void *);", "int fsync(int);", "int close(int);",
    "int open(const char *, int, ...);",
} do
    pcall(ffi.cdef, declaration) -- another library may have declared it in other words
end

-- ── Disk ─────────────────────────────────────────────────────────────────────────────────────────

local function path_of(service)
    return folder .. "/" .. service .. ".json"
end

-- What is on disk; else nil, why, and whether that is because there is nothing.
local function stored(service)
    local file, problem, code = io.open(path_of(service), "rb")
    if not file then return nil, problem, code == 2 end -- ENOENT: there is none
    local json = file:read("*a")
    file:close()
    return json, "cannot read " .. path_of(service)
end

local function sync_folder()
    local opened = ffi.C.open(folder, 0)
    if opened >= 0 then
        ffi.C.fsync(opened)
        ffi.C.close(opened)
    end
end

-- Replaced by rename and synced: after a power cut there is the old or the new document, never half of one.
local function store(service, json, held)
    local fresh = folder .. "/." .. service .. ".json.nginx" -- not the name that Sluice uses here
    local file, problem = io.open(fresh, "wb")
    if not file then return nil, problem end
    local done
    done, problem = file:write(json)
    if done then done, problem = file:flush() end
    if done and ffi.C.fsync(ffi.C.fileno(file)) ~= 0 then done, problem = nil, "cannot sync " .. fresh end
    file:close()
    if done and not held() then done, problem = nil, "the disk was so slow that another writer came first" end
    if done then done, problem = os.rename(fresh, path_of(service)) end
    if not done then
        os.remove(fresh)
        return nil, problem
    end
    pcall(sync_folder)
    return true
end

-- One writer at a time, over all workers. Yields while it waits, so only where nginx lets Lua sleep.
local function alone(service, act)
    local key, mine = "lock:" .. service, ffi.C.getpid() .. ":" .. ngx.now() .. ":" .. math.random(2 ^ 30)
    for _ = 1, LOCK_TRIES do
        if dict:add(key, mine, LOCK_S) then
            local function held() return dict:get(key) == mine end
            local done, status, text = pcall(act, held)
            if held() then dict:delete(key) end
            if not done then return 500, status end
            return status, text
        end
        ngx.sleep(LOCK_POLL_S)
    end
    return 503, "another writer holds " .. service
end

-- ── Visitors ─────────────────────────────────────────────────────────────────────────────────────

local function in_force(service)
    local json = dict:get("route:" .. service)
    local known = decoded[service]
    if known and known.json == json then return known end
    known = json and checked(json) or services[service]
    if not known then error("service " .. service .. " is not in sluice.setup") end
    decoded[service] = known
    return known
end

local function user_of(state)
    if not state.user_variable then return nil end
    local user = ngx.var[state.user_variable]
    if user and user ~= "" then return user end
    if not state.user_cookie then return nil end
    user = ngx.var.request_id:sub(1, 16)
    add_header("Set-Cookie", state.user_cookie .. "=" .. user .. state.cookie_end)
    return user
end

-- The same user falls into the same bucket for ever, in all workers and on all hosts: a rising weight only adds users.
local function bucket(service, user)
    local a, b, c, d = ngx.md5_bin(service .. ":" .. user):byte(1, 4)
    return (((a * 256 + b) * 256 + c) * 256 + d) % WHOLE
end

local function pick(service, state)
    if state.header_variable then
        local asked = ngx.var[state.header_variable]
        if asked == state.header_candidate then return state.candidate end
        if asked == state.header_stable then return state.stable end
    end
    -- Before any cookie is looked at: at 0 % nothing leads anyone to the candidate, and no cookie is handed out.
    if state.weight == 0 then return state.stable end
    local user = user_of(state)
    local draw = user and bucket(service, user) or math.random(0, WHOLE - 1)
    return draw < state.weight and state.candidate or state.stable
end

local function count(pool, step)
    local key = flights[pool]
    if not key then
        key = "flight:" .. ffi.C.getpid() .. ":" .. pool -- by process: the count of one that died dies with it
        flights[pool] = key
    end
    dict:incr(key, step, 0)
end

-- access_by_lua of the location: which pool serves this request, into $sluice_pool.
function _M.choose(service)
    local pool = pick(service, in_force(service))
    local before = ngx.var.sluice_pool
    if before and before ~= "" then count(before, -1) end -- here again, after an internal redirect
    count(pool, 1)
    ngx.var.sluice_pool = pool
end

-- log_by_lua of the whole http block: the request has ended, well or not.
function _M.done()
    local pool = ngx.var.sluice_pool
    if pool and pool ~= "" then count(pool, -1) end
end

-- ── Sluice ───────────────────────────────────────────────────────────────────────────────────────

local function flying()
    local sums, words = {}, {}
    for _, key in ipairs(dict:get_keys(0)) do
        local pid, pool = key:match("^flight:(%d+):(.+)$")
        if pid and ffi.C.kill(tonumber(pid), 0) ~= 0 and ffi.errno() == 3 then -- ESRCH: that worker is gone
            dict:delete(key)
        elseif pid then
            sums[pool] = (sums[pool] or 0) + (dict:get(key) or 0)
        end
    end
    for pool, open in pairs(sums) do words[#words + 1] = quoted(pool) .. ":" .. math.max(0, open) end
    return "{" .. table.concat(words, ",") .. "}"
end

local function answer(status, text, headers)
    ngx.status = status
    for name, value in pairs(headers or {}) do ngx.header[name] = value end
    ngx.header.content_type = ngx.header.content_type or "text/plain"
    if text then ngx.print(text, "\n") end
    return ngx.exit(ngx.HTTP_OK)
end

local function show(service)
    local running, kept, wrong, absent = dict:get("route:" .. service), stored(service)
    local fine = nil
    if kept then fine, wrong = checked(kept) end
    if absent and not running then wrong = nil end -- nothing was ever written
    ngx.req.clear_header("If-Match") -- nginx would compare them with our answer by itself
    ngx.req.clear_header("If-None-Match")
    return answer(200, table.concat({
        '{"service":', quoted(service), ',"file":', quoted(path_of(service)),
        ',"seed":{"candidate":', quoted(services[service].candidate), ',"stable":', quoted(services[service].stable),
        '},"running":', running or "null", ',"stored":', fine and kept or "null",
        ',"stored_problem":', wrong and quoted(wrong) or "null",
        ',"in_flight":', flying(), ',"workers":', ngx.worker.count(), "}",
    }), { content_type = "application/json", etag = running and tag(running) or nil })
end

-- nil if the caller knows what is in force, else a status and words.
local function unmet(running)
    local match, none = ngx.var.http_if_match, ngx.var.http_if_none_match
    if not match and none ~= "*" then return 428, "say If-Match with the ETag of a GET, or If-None-Match: *" end
    if match and (not running or match ~= tag(running)) or none and running then
        return 412, "something else is in force than you have seen"
    end
end

local function take_off(service)
    local kept = stored(service)
    local done, problem = os.remove(path_of(service))
    if not done and kept then return 507, problem end
    dict:delete("route:" .. service)
    return 204
end

local function put(service, wanted, held)
    local key, before = "route:" .. service, stored(service)
    if wanted.weight == 0 then
        local done, problem = dict:set(key, wanted.json)
        if done then done, problem = store(service, wanted.json, held) end
        if not done then return 507, "in force, but a restart would forget it: " .. tostring(problem) end
        return 204
    end
    local done, problem = store(service, wanted.json, held)
    if not done then return 507, tostring(problem) end
    done, problem = dict:safe_set(key, wanted.json)
    if done then return 204 end
    if before then store(service, before, held) else os.remove(path_of(service)) end
    return 507, "the shared dict sluice is too small: " .. tostring(problem)
end

-- content_by_lua of /sluice/: GET shows, PUT and DELETE change if If-Match (If-None-Match: *) says what is in force.
function _M.admin()
    local service, method = ngx.var.uri:match("^/sluice/([^/]+)$"), ngx.req.get_method()
    if not services[service] then return answer(404, "no such service in sluice.setup") end
    if method == "GET" then return show(service) end
    if method ~= "PUT" and method ~= "DELETE" then return answer(405, "GET, PUT or DELETE") end
    ngx.req.read_body()
    local wanted, wrong = true, nil
    if method == "PUT" then wanted, wrong = checked(ngx.req.get_body_data() or "") end
    if not wanted then return answer(400, wrong) end
    local status, text = alone(service, function(held)
        local refused, words = unmet(dict:get("route:" .. service))
        if refused then return refused, words end
        if method == "DELETE" then return take_off(service) end
        return put(service, wanted, held)
    end)
    if status == 204 then -- never 200: nginx itself would compare If-Match with the answer's ETag, and say 412
        return answer(204, nil, method == "PUT" and { etag = tag(wanted.json) } or nil)
    end
    return answer(status, text)
end

-- ── Start ────────────────────────────────────────────────────────────────────────────────────────

local function reconcile(service)
    local function differ()
        local kept, running = stored(service), dict:get("route:" .. service)
        return kept ~= running and { kept and checked(kept), running and checked(running) } or nil
    end
    if not differ() then return end
    alone(service, function(held)
        local both = differ()
        local kept, running = both and both[1], both and both[2]
        if kept and (not running or kept.epoch > running.epoch) then
            ngx.log(ngx.WARN, "sluice: ", path_of(service), " is newer than what was in force: taken")
            dict:safe_set("route:" .. service, kept.json)
        elseif running and (not kept or kept.epoch < running.epoch) then
            store(service, running.json, held)
        end
        return 204
    end)
end

-- init_by_lua: `folder` for the documents, writable by the workers, and the services with the pools before any rollout.
function _M.setup(options)
    dict = assert(ngx.shared.sluice, "say `lua_shared_dict sluice 1m;` in the http block")
    folder = assert(options.folder, "sluice.setup needs a folder"):gsub("/+$", "")
    for name, pools in pairs(options.services) do
        services[name] = {
            candidate = pools.candidate or name .. "-candidate", stable = pools.stable or name .. "-stable", weight = 0,
        }
        local json = stored(name)
        local fine, wrong = nil, nil
        if json then fine, wrong = checked(json) end
        if fine then dict:add("route:" .. name, json) end -- add: after a reload the dict knows better
        if wrong then ngx.log(ngx.ERR, "sluice: ", path_of(name), ": ", wrong, "; all traffic goes to stable") end
    end
end

-- init_worker_by_lua.
function _M.start()
    math.randomseed(ngx.now() * 1000 + ffi.C.getpid() * 7919) -- else all workers draw the same numbers
    if ngx.worker.id() ~= 0 then return end
    ngx.timer.every(SYNC_S, function(premature)
        if premature then return end
        for service in pairs(services) do reconcile(service) end
    end)
end

return _M
