-- Asks linkgate about each request. Made by `linkgate snippet haproxy --part linkgate.lua`; it belongs beside haproxy.cfg.

local QUESTION = "http://{{gateway}}/.linkgate/auth"
local TIMEOUT_MS = 10000

-- What linkgate says about the visitor.
local IDENTITY = {
    "{{lower_identity}}",
}

-- What a visitor may not say: these names, and families of them, with whatever signs between their words.
local MANAGED = {
    ["{{lower_removed}}"] = true,
}
local FAMILIES = { "x-forwarded-", "x-auth-request-", "x-linkgate-" }

-- Fields of one connection, and of a body that is not sent along.
local HOP = {
    ["connection"] = true, ["keep-alive"] = true, ["proxy-authenticate"] = true, ["proxy-authorization"] = true,
    ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true, ["content-length"] = true,
    ["expect"] = true,
}

local function managed(name)
    if name:find("_", 1, true) then
        return true
    end
    local folded = name:lower():gsub("[^a-z0-9]", "-")
    for _, family in ipairs(FAMILIES) do
        if folded:sub(1, #family) == family then
            return true
        end
    end
    return MANAGED[folded] == true
end

local function values(list)
    local all = {}
    local index = list[0] and 0 or 1
    while list[index] do
        all[#all + 1] = list[index]
        index = index + 1
    end
    return all
end

local function answer(txn, status, fields, body)
    local reply = txn:reply()
    reply:set_status(status)
    for name, list in pairs(fields) do
        if not HOP[name:lower()] then
            for _, value in ipairs(values(list)) do
                reply:add_header(name, value)
            end
        end
    end
    if body and txn.sf:method() ~= "HEAD" then
        reply:set_body(body)
    end
    txn:done(reply)
end

core.register_action("linkgate", { "http-req" }, function(txn)
    local host = txn.sf:req_fhdr("host")
    local told = {
        ["x-forwarded-for"] = txn.sf:src(),
        ["x-forwarded-proto"] = txn.f:ssl_fc() == 1 and "https" or "http",
        ["x-forwarded-host"] = host,
    }
    local question = {}
    for name, list in pairs(txn.http:req_get_headers()) do
        if managed(name) then
            txn.http:req_del_header(name)
        elseif not HOP[name] then
            question[name] = values(list)
        end
    end
    for name, value in pairs(told) do
        txn.http:req_set_header(name, value)
        question[name] = { value }
    end
    -- Other words in it would be taken for names of fields to leave out.
    local tunnel = #txn.sf:req_fhdr("upgrade") > 0
    txn.http:req_del_header("connection")
    if tunnel then
        txn.http:req_set_header("connection", "upgrade")
    end
    if txn.sf:path():sub(1, 11) == "/.linkgate/" then
        return
    end

    question["x-forwarded-method"] = { txn.sf:method() }
    question["x-forwarded-uri"] = { txn.sf:pathq() }
    local client = core.httpclient()
    local found = client:get({ url = QUESTION, headers = question, timeout = TIMEOUT_MS })
    if not found or not found.status or found.status < 200 then
        return answer(txn, 503, {}, nil)
    end
    if found.status ~= 200 then
        return answer(txn, found.status, found.headers or {}, found.body)
    end
    local cookies = found.headers["x-linkgate-cookie"]
    txn.http:req_del_header("cookie")
    if cookies then
        txn.http:req_set_header("cookie", values(cookies)[1])
    end
    for _, name in ipairs(IDENTITY) do
        if found.headers[name] then
            txn.http:req_set_header(name, values(found.headers[name])[1])
        end
    end
end)
