-- Asks linkgate about each request. Made by `linkgate snippet apache --part linkgate.lua`; it belongs where
-- linkgate.conf names it.

local http = require "socket.http"
local ltn12 = require "ltn12"

local QUESTION = "http://127.0.0.1:8081/.linkgate/auth"
http.TIMEOUT = 10

-- What linkgate says about the visitor.
local IDENTITY = {
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "x-forwarded-roles",
    "x-linkgate-assertion",
    "x-request-id",
}

-- What a visitor may not say: these names, and families of them, with whatever signs between their words.
local MANAGED = {
    ["x-forwarded-user"] = true,
    ["x-forwarded-email"] = true,
    ["x-forwarded-preferred-username"] = true,
    ["x-forwarded-groups"] = true,
    ["x-forwarded-roles"] = true,
    ["x-linkgate-assertion"] = true,
    ["x-request-id"] = true,
    ["forwarded"] = true,
    ["proxy"] = true,
    ["remote-email"] = true,
    ["remote-groups"] = true,
    ["remote-name"] = true,
    ["remote-user"] = true,
    ["x-auth-request-email"] = true,
    ["x-auth-request-groups"] = true,
    ["x-auth-request-preferred-username"] = true,
    ["x-auth-request-user"] = true,
    ["x-forwarded-client-cert"] = true,
    ["x-forwarded-method"] = true,
    ["x-forwarded-path"] = true,
    ["x-forwarded-port"] = true,
    ["x-forwarded-prefix"] = true,
    ["x-forwarded-proto-version"] = true,
    ["x-forwarded-protocol"] = true,
    ["x-forwarded-scheme"] = true,
    ["x-forwarded-server"] = true,
    ["x-forwarded-ssl"] = true,
    ["x-forwarded-uri"] = true,
    ["x-linkgate-cookie"] = true,
    ["x-original-method"] = true,
    ["x-original-uri"] = true,
    ["x-original-url"] = true,
    ["x-real-ip"] = true,
    ["x-rewrite-url"] = true,
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

local function answer(r, status, fields, parts)
    r.status = status
    for name, value in pairs(fields) do
        if name:lower() == "content-type" then
            r.content_type = value
        elseif not HOP[name:lower()] then
            r.err_headers_out[name] = value
        end
    end
    if r.method ~= "HEAD" then
        r:write(table.concat(parts))
    end
    return apache2.DONE
end

function check(r)
    local told = {
        ["X-Forwarded-For"] = r.useragent_ip,
        ["X-Forwarded-Proto"] = r.is_https and "https" or "http",
        ["X-Forwarded-Host"] = r.headers_in["Host"],
    }
    local question = {}
    for name, value in pairs(r:headers_in_table()) do
        if managed(name) then
            r.headers_in[name] = nil
        elseif not HOP[name:lower()] then
            question[name] = value
        end
    end
    for name, value in pairs(told) do
        r.headers_in[name] = value
        question[name] = value
    end
    -- Other words in it would be taken for names of fields to leave out.
    local connection = (r.headers_in["Connection"] or ""):lower()
    if r.headers_in["Upgrade"] then
        r.headers_in["Connection"] = "upgrade"
    else
        r.headers_in["Connection"] = connection:find("close", 1, true) and "close" or nil
    end
    -- The question is this proxy's to put.
    if r.uri:sub(1, 15) == "/.linkgate/auth" then
        return 404
    end
    if r.uri:sub(1, 11) == "/.linkgate/" then
        return apache2.OK
    end

    question["X-Forwarded-Method"] = r.method
    question["X-Forwarded-Uri"] = r.unparsed_uri
    local parts = {}
    local reached, status, fields = http.request {
        url = QUESTION,
        headers = question,
        sink = ltn12.sink.table(parts),
        redirect = false,
    }
    if not reached or type(status) ~= "number" then
        return 503
    end
    if status ~= 200 then
        return answer(r, status, fields, parts)
    end
    r.headers_in["Cookie"] = fields["x-linkgate-cookie"]
    for _, name in ipairs(IDENTITY) do
        if fields[name] then
            r.headers_in[name] = fields[name]
        end
    end
    return apache2.OK
end
