-- The proxy's rules: a table that the follower replaces over the admin socket, never by a reload.
-- The table is a Lua chunk rendered by testbed/kubernetes/proxy.py; its path is given in SLUICE_PLANE_TABLE.

local FILE = os.getenv("SLUICE_PLANE_TABLE")

local plane = { serial = 0, rules = {} }

math.randomseed(os.time())

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

local function fits(how, wanted, value)
    if how == "exact" then
        return value == wanted
    elseif how == "prefix" then
        return string.sub(value, 1, #wanted) == wanted
    elseif how == "path" then -- by elements: /cart is a prefix of /cart/7, not of /carton
        return value == wanted or wanted == "/" or string.sub(value, 1, #wanted + 1) == wanted .. "/"
    elseif how == "present" then
        return true
    end
    return false -- a way of matching that this proxy does not know holds for nobody
end

local function holds(txn, headers, condition)
    if condition.of == "path" then
        return fits(condition.how, condition.value, txn.sf:path())
    elseif condition.of == "method" then
        return fits(condition.how, condition.value, txn.sf:method())
    end
    local values = headers[condition.name]
    if values then
        for place = 0, #values do
            if values[place] and fits(condition.how, condition.value, values[place]) then
                return true
            end
        end
    end
    return false
end

local function rule_for(txn, headers)
    for _, rule in ipairs(plane.rules) do
        local all = true
        for _, condition in ipairs(rule.conditions) do
            if not holds(txn, headers, condition) then
                all = false
                break
            end
        end
        if all then
            return rule
        end
    end
    return nil
end

local function drawn(choices)
    local total = 0
    for _, choice in ipairs(choices) do
        total = total + choice.weight
    end
    if total == 0 then
        return nil
    end
    local left = math.random(total)
    for _, choice in ipairs(choices) do
        left = left - choice.weight
        if left <= 0 then
            return choice
        end
    end
end

local function refuse(txn, status, body)
    local reply = txn:reply({ status = status, reason = "Refused" })
    reply:add_header("content-type", "text/plain")
    reply:set_body(body)
    txn:done(reply)
end

core.register_action("route", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    local rule = rule_for(txn, headers)
    if not rule then
        return refuse(txn, 404, "no rule\n")
    end
    local choice = drawn(rule.choices)
    if not choice then
        return refuse(txn, rule.empty, "no backend\n")
    end
    if choice.status then
        return refuse(txn, choice.status, choice.why .. "\n")
    end
    txn:set_var("txn.host", choice.host)
    txn:set_var("txn.port", choice.port)
end, 0)

core.register_cli({ "plane", "load" }, "plane load: read the table again", function(applet)
    local problem = load_table()
    applet:send(problem and ("problem " .. problem .. "\n") or ("serial " .. plane.serial .. "\n"))
end)
