-- One row a time in which an agent, in one login, was available, busy or paused; the last one has no end until logout.
WITH told AS (
    -- Who has logged in takes work until they say otherwise.
    SELECT
        tenant, subject AS session, place AS n, occurred_us AS at_us, agent,
        CASE type
            WHEN 'agent.logged_in' THEN 'available'
            WHEN 'agent.available' THEN 'available'
            WHEN 'agent.busy' THEN 'busy'
            WHEN 'agent.paused' THEN 'paused'
        END AS says_state,
        CASE WHEN type = 'agent.paused' THEN code END AS says_code,
        CASE type WHEN 'agent.logged_in' THEN 'in' WHEN 'agent.logged_out' THEN 'out' END AS says_door
    FROM history_agent_session
),
sessions AS (
    SELECT tenant, session, min_by(agent, n) FILTER (WHERE agent IS NOT NULL) AS agent
    FROM told
    GROUP BY tenant, session
),
doors AS (
    SELECT
        tenant, session, n, at_us, says_state, says_code,
        max_by(says_door, CASE WHEN says_door IS NOT NULL THEN n END) OVER (
            PARTITION BY tenant, session ORDER BY n NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS door
    FROM told
),
states AS (
    -- After the logout nothing counts until the next login.
    SELECT
        tenant, session, n, at_us,
        CASE WHEN coalesce(door, 'in') = 'in' THEN says_state END AS state,
        CASE WHEN coalesce(door, 'in') = 'in' THEN says_code END AS code
    FROM doors
),
beside AS (
    SELECT
        tenant, session, n, at_us, state, code,
        lag(state) OVER (PARTITION BY tenant, session ORDER BY n NULLS LAST) AS was_state,
        lag(code) OVER (PARTITION BY tenant, session ORDER BY n NULLS LAST) AS was_code
    FROM states
),
spans AS (
    SELECT
        tenant, session, state, code,
        at_us AS begin_us,
        lead(at_us) OVER (PARTITION BY tenant, session ORDER BY n NULLS LAST) AS end_us
    FROM beside
    WHERE state IS DISTINCT FROM was_state OR code IS DISTINCT FROM was_code
)
SELECT spans.tenant, spans.session, agent, state, code, begin_us, end_us
FROM spans
JOIN sessions ON sessions.tenant = spans.tenant AND sessions.session = spans.session
WHERE state IS NOT NULL AND (end_us IS NULL OR end_us > begin_us)
