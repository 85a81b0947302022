-- The load balancer's rules, inside HAProxy: a table that the gate replaces over the admin socket, never a reload.
-- The table is a Lua chunk rendered by testbed/aws/plane.py; its path is given in SLUICE_PLANE_TABLE.

local FILE = os.getenv("SLUICE_PLANE_TABLE")
local STICKY = "AWSALBTG"

local plane = { serial = 0, rules = {}, targets = {} }
local counts = {} -- group .. " " .. what -> number

math.randomseed(os.time())

local function count(group, what)
    local key = group .. " " .. what
    counts[key] = (counts[key] or 0) + 1
end

local function load_table()
    local chunk, problem = loadfile(FILE, "t", {})
    if not chunk then
        return problem
    end
    local fine, found = pcall(chunk)
    if not fine then
        return found
    end
    plane = found
    return nil
end

load_table() -- a proxy started again goes on with what it had; the first start has no table yet

-- Request line: what a condition looks at, as a list of strings.
local function looked_at(txn, headers, condition)
    if condition.field == "path-pattern" then
        return { txn.sf:path() }
    elseif condition.field == "http-request-method" then
        return { txn.sf:method() }
    elseif condition.field == "query-string" then
        local found = {}
        for pair in string.gmatch(txn.sf:query(), "[^&]+") do
            found[#found + 1] = pair
        end
        return found
    end
    local name = condition.field == "host-header" and "host" or condition.name
    local found = {}
    local values = headers[name]
    if values then
        for place = 0, #values do
            local value = values[place]
            if value then
                found[#found + 1] = string.lower(value)
            end
        end
    end
    if condition.field == "host-header" and found[1] then
        found[1] = string.gsub(found[1], ":%d+$", "")
    end
    return found
end

local function holds(txn, headers, condition)
    for _, value in ipairs(looked_at(txn, headers, condition)) do
        for _, pattern in ipairs(condition.patterns) do
            if string.find(value, pattern) then
                return true
            end
        end
    end
    return false
end

local function rule_for(txn, headers)
    for _, rule in ipairs(plane.rules) do
        local fits = true
        for _, condition in ipairs(rule.conditions) do
            if not holds(txn, headers, condition) then
                fits = false
                break
            end
        end
        if fits then
            return rule
        end
    end
    return nil
end

local function drawn(groups)
    local total = 0
    for _, group in ipairs(groups) do
        total = total + group.weight
    end
    if total == 0 then
        return nil
    end
    local left = math.random(total)
    for _, group in ipairs(groups) do
        left = left - group.weight
        if left <= 0 then
            return group.name
        end
    end
end

-- The group of the client's cookie, if the rule still has that group: whatever its weight is now.
local function kept(headers, rule)
    if not headers["cookie"] then
        return nil
    end
    for place = 0, #headers["cookie"] do
        local line = headers["cookie"][place] or ""
        local name, ends_at = string.match("; " .. line, "; " .. STICKY .. "=([%w-]+)%.(%d+)")
        if name and tonumber(ends_at) > os.time() then
            for _, group in ipairs(rule.groups) do
                if group.name == name then
                    return name
                end
            end
        end
    end
    return nil
end

local function refuse(txn, status, reason, body)
    local reply = txn:reply({ status = status, reason = reason })
    reply:add_header("server", "awselb/2.0")
    reply:add_header("content-type", "text/plain")
    reply:set_body(body)
    txn:done(reply)
end

core.register_action("route", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    local rule = rule_for(txn, headers)
    if not rule then
        return refuse(txn, 503, "Service Unavailable", "no rule\n")
    end
    if rule.status then
        return refuse(txn, rule.status, "Fixed", rule.body)
    end
    local group = rule.sticky_s and kept(headers, rule)
    if not group then
        group = drawn(rule.groups)
        if group and rule.sticky_s then
            txn:set_var("txn.cookie", STICKY .. "=" .. group .. "." .. tostring(os.time() + rule.sticky_s))
        end
    end
    local targets = group and plane.targets[group]
    if not targets or #targets == 0 then
        count(group or "-", "503")
        return refuse(txn, 503, "Service Temporarily Unavailable", "no targets\n")
    end
    count(group, "requests")
    txn:set_var("txn.group", group)
    txn:set_var("txn.port", targets[math.random(#targets)])
end, 0)

core.register_action("answered", { "http-res" }, function(txn)
    local group = txn:get_var("txn.group")
    if group then
        count(group, tostring(math.floor(txn.sf:status() / 100)) .. "xx")
    end
    local cookie = txn:get_var("txn.cookie")
    if cookie then
        txn.http:res_add_header("set-cookie", cookie .. "; Path=/; Max-Age=604800")
    end
end, 0)

core.register_cli({ "plane", "load" }, "plane load: read the table again", function(applet)
    local problem = load_table()
    applet:send(problem and ("problem " .. problem .. "\n") or ("serial " .. plane.serial .. "\n"))
end)

core.register_cli({ "plane", "show" }, "plane show: serial and counters", function(applet)
    local lines = { "serial " .. plane.serial }
    for key, number in pairs(counts) do
        lines[#lines + 1] = key .. " " .. number
    end
    applet:send(table.concat(lines, "\n") .. "\n")
end)
