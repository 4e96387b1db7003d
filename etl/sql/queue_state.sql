-- One row an event of a queue entry: what was said, and who is bound by the entry from it on.
WITH said AS (
    -- NULL says nothing, '' says nobody. A transfer to a queue alone leaves the entry with nobody.
    SELECT
        tenant, subject AS entry, place AS n, occurred_us AS at_us, type, queue, channel, ticket, agent, reason,
        CASE
            WHEN type = 'queue.answered' THEN coalesce(agent, '')
            WHEN type = 'queue.transferred' AND (agent IS NOT NULL OR queue IS NOT NULL) THEN coalesce(agent, '')
        END AS says_agent,
        CASE
            WHEN type = 'queue.held' THEN 'hold'
            WHEN type IN ('queue.answered', 'queue.resumed') THEN 'talk'
            WHEN type = 'queue.transferred' AND (agent IS NOT NULL OR queue IS NOT NULL) THEN 'talk'
        END AS says_state,
        -- What ends every ringing of the entry, whoever it rings at.
        CASE WHEN type IN ('queue.answered', 'queue.transferred', 'queue.ended') THEN 1 ELSE 0 END AS clears
    FROM history_queue_entry
),
carried AS (
    SELECT
        tenant, entry, n, at_us, type, channel, ticket, agent, reason,
        max_by(queue, CASE WHEN queue IS NOT NULL THEN n END) OVER so_far AS queue,
        nullif(max_by(says_agent, CASE WHEN says_agent IS NOT NULL THEN n END) OVER so_far, '') AS said_agent,
        max_by(says_state, CASE WHEN says_state IS NOT NULL THEN n END) OVER so_far AS said_state,
        CAST(sum(clears) OVER so_far AS BIGINT) AS cleared,
        max(CASE WHEN type = 'queue.answered' THEN 1 ELSE 0 END) OVER so_far AS is_answered,
        max(CASE WHEN type = 'queue.ended' THEN 1 ELSE 0 END) OVER so_far AS is_over
    FROM said
    WINDOW so_far AS (
        PARTITION BY tenant, entry ORDER BY n NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),
bound AS (
    -- Nobody talks before the first answer, nor after the first end.
    SELECT
        tenant, entry, n, at_us, type, queue, channel, ticket, agent, reason, cleared, is_over,
        CASE WHEN is_answered = 1 AND is_over = 0 THEN said_agent END AS bound_agent,
        CASE WHEN is_answered = 1 AND is_over = 0 AND said_agent IS NOT NULL THEN said_state END AS bound_state
    FROM carried
)
SELECT
    tenant, entry, n, at_us, type, queue, channel, ticket, agent, reason, cleared, is_over, bound_agent, bound_state,
    lag(bound_agent) OVER beside AS was_agent,
    lag(bound_state) OVER beside AS was_state
FROM bound
WINDOW beside AS (PARTITION BY tenant, entry ORDER BY n NULLS LAST)
