#!lua
-- The store on Redis: every operation is one call of this script, so each is atomic and isolated.
--
-- Data, all below one prefix:
--   revision  the last revision, as text
--   records   hash: key -> revision (16 digits), lease (16 hex digits, zeros: none), value
--   order     sorted set of all keys, for ranges in the order of their bytes
--   leases    sorted set: lease -> when it ends, in milliseconds of the server's clock
--   leased    sorted set of lease .. key, for the keys of a lease
--   changes   stream: the changes of a revision are its entries <revision>-1, <revision>-2, ...; fields are key and
--             "P" .. value for a put, "D" for a deletion
--   floor     the last revision whose changes are no longer in the stream
--   bytes     of the stream, as counted here
--
-- A revision is the server's time in microseconds, or one above the last where that is higher. So a server that was
-- promised the lead without the newest changes never gives one of their revisions to another change, and a fence that
-- names a lost revision matches nothing.
local REVISION, RECORDS, ORDER, LEASES, LEASED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local CHANGES, FLOOR, BYTES = KEYS[6], KEYS[7], KEYS[8]
local NO_LEASE = '0000000000000000'
local PER_ENTRY = 1000 -- changes in one entry of the stream; Lua passes only so many arguments
local OVERHEAD = 100 -- bytes that a change takes in the stream beside its key and value

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)

local function whole(number) return string.format('%.0f', number) end
local function digits(number) return string.format('%016.0f', number) end
local function number_at(name) return tonumber(redis.call('GET', name) or '0') end
local function revision_in(id) return tonumber(string.match(id, '^(%d+)-')) end

local last = number_at(REVISION)

-- ---- changes ----

local pending, pending_bytes = {}, 0

local function note(key, change)
    pending[#pending + 1] = key
    pending[#pending + 1] = change
    pending_bytes = pending_bytes + #key + #change + OVERHEAD
end

local function size_of(entry)
    local bytes = 0
    for index = 1, #entry[2] do bytes = bytes + #entry[2][index] end
    return bytes + OVERHEAD * #entry[2] / 2
end

-- Forget the changes of whole revisions, the oldest first, up to and with `revision`.
local function forget(revision)
    local freed, start = 0, '-'
    while true do
        local entries = redis.call('XRANGE', CHANGES, start, whole(revision), 'COUNT', 256)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do freed = freed + size_of(entry) end
        start = '(' .. entries[#entries][1]
    end
    redis.call('XTRIM', CHANGES, 'MINID', whole(revision + 1))
    redis.call('DECRBY', BYTES, whole(freed))
    if revision > number_at(FLOOR) then redis.call('SET', FLOOR, whole(revision)) end
end

-- Make the noted changes one revision. Nothing noted: the revision stays.
local function publish(limit_entries, limit_bytes)
    if #pending == 0 then return end
    last = math.max(last + 1, now_us)
    redis.call('SET', REVISION, whole(last))
    local part = 0
    for from = 1, #pending, 2 * PER_ENTRY do
        part = part + 1
        local upto = math.min(from + 2 * PER_ENTRY - 1, #pending)
        redis.call('XADD', CHANGES, whole(last) .. '-' .. part, unpack(pending, from, upto))
    end
    redis.call('INCRBY', BYTES, whole(pending_bytes))
    pending, pending_bytes = {}, 0
    -- The stream is bounded; who is further behind lists anew. The newest revision always stays.
    while redis.call('XLEN', CHANGES) > limit_entries or number_at(BYTES) > limit_bytes do
        local batch = redis.call('XRANGE', CHANGES, '-', whole(last - 1), 'COUNT', 256)
        if #batch == 0 then break end
        forget(revision_in(batch[#batch][1]))
    end
end

-- ---- records ----

local function free_from_lease(key, record)
    local lease = string.sub(record, 17, 32)
    if lease ~= NO_LEASE then redis.call('ZREM', LEASED, lease .. key) end
end

local function put(key, value, lease, revision)
    local before = redis.call('HGET', RECORDS, key)
    if before then free_from_lease(key, before) else redis.call('ZADD', ORDER, 0, key) end
    redis.call('HSET', RECORDS, key, digits(revision) .. lease .. value)
    if lease ~= NO_LEASE then redis.call('ZADD', LEASED, 0, lease .. key) end
    note(key, 'P' .. value)
end

local function delete(key)
    local before = redis.call('HGET', RECORDS, key)
    if not before then return end
    free_from_lease(key, before)
    redis.call('HDEL', RECORDS, key)
    redis.call('ZREM', ORDER, key)
    note(key, 'D')
end

local function keys_between(set, first, beyond, ...)
    return redis.call('ZRANGEBYLEX', set, first, beyond == '' and '+' or '(' .. beyond, ...)
end

local function end_lease(lease, limit_entries, limit_bytes)
    redis.call('ZREM', LEASES, lease)
    local beyond = string.sub(lease, 1, 15) .. string.char(string.byte(lease, 16) + 1)
    for _, member in ipairs(keys_between(LEASED, '[' .. lease, beyond)) do delete(string.sub(member, 17)) end
    publish(limit_entries, limit_bytes)
end

local function milliseconds_to_next_end()
    local first = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
    return first[2] and math.max(0, tonumber(first[2]) - now_ms) or -1
end

-- ---- operations ----

local operations = {}

-- compares: count, then key and revision; operations: count, then kind and three arguments
function operations.txn(limit_entries, limit_bytes, arguments)
    local at = 1
    local function take()
        at = at + 1
        return arguments[at - 1]
    end
    local holds, seen = true, {}
    for _ = 1, tonumber(take()) do
        local key, revision = take(), take()
        local record = redis.call('HGET', RECORDS, key)
        if record then
            seen[#seen + 1] = key
            seen[#seen + 1] = record
        end
        if (record and string.sub(record, 1, 16) or digits(0)) ~= revision then holds = false end
    end
    if not holds then return { 'refused', whole(last), unpack(seen) } end
    local steps = {}
    for index = 1, tonumber(take()) do
        steps[index] = { take(), take(), take(), take() }
        local lease = steps[index][4]
        if lease ~= NO_LEASE and not redis.call('ZSCORE', LEASES, lease) then return { 'lease', lease } end
    end
    local revision = math.max(last + 1, now_us)
    for _, step in ipairs(steps) do
        if step[1] == 'put' then
            put(step[2], step[3], step[4], revision)
        elseif step[1] == 'delete' then
            delete(step[2])
        else
            for _, key in ipairs(keys_between(ORDER, '[' .. step[2], step[3])) do delete(key) end
        end
    end
    publish(limit_entries, limit_bytes)
    return { 'done', whole(last) }
end

function operations.get(_, _, arguments)
    return { whole(last), redis.call('HGET', RECORDS, arguments[1]) }
end

-- First key (with '[' or '(' before it), the key beyond the range ('': none), how many keys, how many bytes.
function operations.page(_, _, arguments)
    local limit, left = tonumber(arguments[3]), tonumber(arguments[4])
    local keys = keys_between(ORDER, arguments[1], arguments[2], 'LIMIT', 0, limit)
    local reply = { whole(last), #keys == limit and '1' or '0' }
    for index, key in ipairs(keys) do
        local record = redis.call('HGET', RECORDS, key)
        left = left - #key - #record
        if left < 0 and index > 1 then
            reply[2] = '1'
            break
        end
        reply[#reply + 1] = key
        reply[#reply + 1] = record
    end
    return reply
end

-- Whole revisions from the given one on, some `left` bytes of them; nothing when there are none yet.
function operations.changes(_, _, arguments)
    local from, left = tonumber(arguments[1]), tonumber(arguments[2])
    if from <= number_at(FLOOR) or last < from - 1 then return { 'gone', whole(last) } end
    local found, start, reached = {}, whole(from), nil
    while true do
        local entries = redis.call('XRANGE', CHANGES, start, '+', 'COUNT', 64)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do
            local revision = revision_in(entry[1])
            if left < 0 and revision ~= reached then return { 'changes', whole(last), unpack(found) } end
            reached = revision
            left = left - size_of(entry)
            found[#found + 1] = { whole(revision), entry[2] }
            if #found >= 1000 then left = -1 end
        end
        start = '(' .. entries[#entries][1]
    end
    return { 'changes', whole(last), unpack(found) }
end

function operations.state() return { whole(last), whole(milliseconds_to_next_end()) } end

function operations.compact(_, _, arguments)
    local revision = tonumber(arguments[1])
    if revision > last then return { 'future', whole(last) } end
    forget(revision - 1)
    return { 'done', whole(last) }
end

function operations.grant(_, _, arguments)
    redis.call('ZADD', LEASES, 'NX', whole(now_ms + tonumber(arguments[2])), arguments[1])
    return { 'done' }
end

function operations.keep(_, _, arguments)
    if not redis.call('ZSCORE', LEASES, arguments[1]) then return { 'gone' } end
    redis.call('ZADD', LEASES, 'XX', whole(now_ms + tonumber(arguments[2])), arguments[1])
    return { 'done' }
end

function operations.revoke(limit_entries, limit_bytes, arguments)
    end_lease(arguments[1], limit_entries, limit_bytes)
    return { 'done', whole(last) }
end

local operation, limit_entries, limit_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- Leases end when somebody calls, before the call is looked at: no txn sees a key whose lease has run out.
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(now_ms), 'LIMIT', 0, 100)) do
    end_lease(lease, limit_entries, limit_bytes)
end
return operations[operation](limit_entries, limit_bytes, { unpack(ARGV, 4) })
