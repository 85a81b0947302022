-- What a document is: one flat JSON object that says how a service's requests are split.
--
-- No lua-cjson: it is one more package to install, for documents that have no nesting.

local _M = {}
local WHOLE = 10000 -- weights are hundredths of a percent

local ESCAPED = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function string_at(json, at)
    local parts = {}
    while true do
        local stop = json:find('["\\]', at)
        if not stop then return nil end
        parts[#parts + 1] = json:sub(at, stop - 1)
        if json:sub(stop, stop) == '"' then return table.concat(parts), stop + 1 end
        local plain = ESCAPED[json:sub(stop + 1, stop + 1)] -- no \u: Sluice writes UTF-8 as it is
        if not plain then return nil end
        parts[#parts + 1] = plain
        at = stop + 2
    end
end

local function value_at(json, at)
    if json:sub(at, at) == '"' then return string_at(json, at + 1) end
    local word, after = json:match("^([%w%.%+%-]+)()", at)
    if word == "null" or word == "true" or word == "false" then
        return word == "true" or nil, after
    end
    local number = word and word:find("^%-?%d") and tonumber(word)
    return number or nil, number and after
end

local function decode(json)
    local found, at = {}, json:match("^%s*{%s*()")
    if at and json:find("^}%s*$", at) then return found end
    while at do
        local key, after = json:match('^"([%w_]+)"%s*:%s*()', at)
        if not key then return nil end
        found[key], after = value_at(json, after)
        if not after then return nil end
        if json:find("^%s*}%s*$", after) then return found end
        at = json:match("^%s*,%s*()", after)
    end
    return nil
end

-- Text as a JSON string.
function _M.quoted(text)
    return '"' .. tostring(text):gsub('[%c"\\]', function(each)
        return string.format("\\u%04x", each:byte())
    end) .. '"'
end

local function is_whole(number, most)
    return type(number) == "number" and number >= 0 and number <= most and number % 1 == 0
end

local function is_name(text)
    return type(text) == "string" and text:find("^[%w._-]+$") ~= nil
end

-- The document as a table, or nil and what is wrong with it.
function _M.checked(json)
    local found = decode(json)
    if not found then return nil, "not one JSON object without nesting" end
    if not is_name(found.candidate) then return nil, "candidate is no name of an upstream" end
    if not is_name(found.stable) then return nil, "stable is no name of an upstream" end
    if not is_whole(found.weight, WHOLE) then return nil, "weight is no whole number from 0 to 10000" end
    if not is_whole(found.epoch, 2 ^ 53) then return nil, "epoch is no whole number" end
    if found.header then
        if not (is_name(found.header) and found.header_candidate and found.header_stable) then
            return nil, "header needs header_candidate and header_stable"
        end
        found.header_variable = "http_" .. found.header:lower():gsub("-", "_")
    end
    if found.user_header then
        if not is_name(found.user_header) then return nil, "user_header is no name of a header" end
        found.user_variable = "http_" .. found.user_header:lower():gsub("-", "_")
    elseif found.user_cookie then
        if not (is_name(found.user_cookie) and is_whole(found.max_age, 2 ^ 31)) then
            return nil, "user_cookie is a cookie's name and needs max_age, in seconds"
        end
        found.user_variable = "cookie_" .. found.user_cookie
        found.cookie_end = "; Path=/; Max-Age=" .. string.format("%d", found.max_age) .. "; HttpOnly; SameSite=Lax"
    end
    found.json = json
    return found
end

-- Its ETag: documents that say the same have the same.
function _M.tag(json)
    return '"' .. ngx.md5(json) .. '"'
end

return _M
