-- One row a time in which a queue entry bound an agent: it rang there, they talked, held or wrapped up.
WITH bindings AS (
    SELECT
        tenant, entry, queue, n, bound_agent AS agent, bound_state AS state,
        at_us AS begin_us,
        lead(at_us) OVER beside AS end_us,
        lead(type) OVER beside AS ended_by,
        lead(bound_agent) OVER beside AS next_agent
    FROM queue_state
    WHERE bound_agent IS DISTINCT FROM was_agent OR bound_state IS DISTINCT FROM was_state
    WINDOW beside AS (PARTITION BY tenant, entry ORDER BY n NULLS LAST)
),
ringing AS (
    -- Several agents may be rung at once; what happens at one of them ends only that one's ringing.
    SELECT
        tenant, entry, queue, agent, n, type, cleared,
        at_us AS begin_us,
        lead(at_us) OVER here AS own_end_us,
        lead(type) OVER here AS own_end
    FROM queue_state
    WHERE type IN ('queue.offered', 'queue.declined') AND is_over = 0
    WINDOW here AS (PARTITION BY tenant, entry, agent, cleared ORDER BY n NULLS LAST)
),
clearing AS (
    SELECT tenant, entry, cleared, at_us, type, agent
    FROM queue_state
    WHERE type IN ('queue.answered', 'queue.transferred', 'queue.ended')
),
ends AS (
    SELECT tenant, entry, queue, agent, n, end_us AS at_us, 0 AS is_wrap
    FROM bindings
    WHERE agent IS NOT NULL AND end_us IS NOT NULL AND next_agent IS DISTINCT FROM agent
    UNION ALL
    SELECT tenant, entry, queue, agent, n, at_us, 1 AS is_wrap
    FROM queue_state
    WHERE type = 'queue.wrapped'
),
wrapping AS (
    -- What an agent does after a call belongs to the last time the entry let this agent go.
    SELECT
        tenant, entry, agent, n, is_wrap,
        at_us AS end_us,
        lag(at_us) OVER here AS begin_us,
        lag(queue) OVER here AS queue,
        lag(is_wrap) OVER here AS after_wrap
    FROM ends
    WINDOW here AS (PARTITION BY tenant, entry, agent ORDER BY at_us NULLS LAST, is_wrap NULLS LAST, n NULLS LAST)
),
work AS (
    SELECT tenant, entry, queue, agent, state, begin_us, end_us, substr(ended_by, 7) AS ended_by, n
    FROM bindings
    WHERE agent IS NOT NULL
    UNION ALL
    SELECT
        ringing.tenant, ringing.entry, ringing.queue, ringing.agent, 'ring' AS state, begin_us,
        coalesce(own_end_us, clearing.at_us) AS end_us,
        CASE
            WHEN own_end IS NULL AND clearing.type = 'queue.answered' AND clearing.agent <> ringing.agent THEN 'taken'
            ELSE substr(coalesce(own_end, clearing.type), 7)
        END AS ended_by,
        n
    FROM ringing
    LEFT JOIN clearing
        ON clearing.tenant = ringing.tenant
        AND clearing.entry = ringing.entry
        AND clearing.cleared = ringing.cleared + 1
    WHERE ringing.type = 'queue.offered'
    UNION ALL
    SELECT tenant, entry, queue, agent, 'acw' AS state, begin_us, end_us, 'wrapped' AS ended_by, n
    FROM wrapping
    WHERE is_wrap = 1 AND after_wrap = 0
),
entries AS (
    SELECT tenant, entry, min_by(channel, n) FILTER (WHERE channel IS NOT NULL) AS channel
    FROM queue_state
    WHERE type = 'queue.entered'
    GROUP BY tenant, entry
)
SELECT
    work.tenant, work.entry, work.queue, channel, work.agent, work.state, begin_us, end_us, ended_by, work.n AS place
FROM work
LEFT JOIN entries ON entries.tenant = work.tenant AND entries.entry = work.entry
