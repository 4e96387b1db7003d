-- One row an event that can change a ticket: what the ticket was before it, and what it is from it on.
WITH told AS (
    -- What each event says of status, agent and group: NULL says nothing, '' says nobody.
    SELECT
        tenant,
        subject AS ticket,
        occurred_us AS at_us,
        seq,
        type_rank,
        event_id,
        CASE WHEN type = 'ticket.created' THEN channel END AS channel,
        CASE WHEN type IN ('ticket.created', 'ticket.updated') THEN priority END AS priority,
        CASE
            WHEN type = 'ticket.updated' AND status IN ('new', 'open', 'pending', 'hold', 'solved', 'closed')
                THEN status
            WHEN type = 'ticket.hold' THEN 'hold'
            WHEN type = 'ticket.solved' THEN 'solved'
            WHEN type = 'ticket.closed' THEN 'closed'
            WHEN type = 'ticket.reopened' THEN 'open'
        END AS says_status,
        CASE
            WHEN type = 'ticket.created' THEN agent
            WHEN type = 'ticket.queued' THEN ''
            WHEN type = 'ticket.assigned' THEN coalesce(agent, '')
            WHEN type = 'ticket.transferred' AND (agent IS NOT NULL OR group_name IS NOT NULL)
                THEN coalesce(agent, '')
        END AS says_agent,
        CASE
            WHEN type IN ('ticket.created', 'ticket.queued', 'ticket.assigned', 'ticket.transferred') THEN group_name
        END AS says_group
    FROM history_ticket
    WHERE type IN (
        'ticket.created', 'ticket.updated', 'ticket.queued', 'ticket.assigned', 'ticket.transferred', 'ticket.hold',
        'ticket.solved', 'ticket.closed', 'ticket.reopened'
    )
    UNION ALL
    -- A ticket lives from its first event on, even if that is a message and its beginning was lost.
    SELECT
        tenant, ticket, first_us, CAST(NULL AS BIGINT), CAST(-1 AS BIGINT), '', CAST(NULL AS STRING),
        CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS STRING)
    FROM ticket_opening
    WHERE first_change_us IS NULL OR first_us < first_change_us
),
numbered AS (
    SELECT
        tenant, ticket, at_us, channel, priority, says_status, says_agent, says_group,
        row_number() OVER (
            PARTITION BY tenant, ticket
            ORDER BY at_us NULLS LAST, seq NULLS LAST, type_rank NULLS LAST, event_id NULLS LAST
        ) AS n
    FROM told
),
carried AS (
    -- What was said last holds until something else is said.
    SELECT
        tenant, ticket, n, at_us, channel, priority,
        max_by(says_status, CASE WHEN says_status IS NOT NULL THEN n END) OVER so_far AS said_status,
        max(CASE WHEN says_status IS NOT NULL THEN n END) OVER so_far AS status_n,
        max(CASE WHEN says_agent <> '' THEN n END) OVER so_far AS agent_n,
        nullif(max_by(says_agent, CASE WHEN says_agent IS NOT NULL THEN n END) OVER so_far, '') AS agent,
        max_by(says_group, CASE WHEN says_group IS NOT NULL THEN n END) OVER so_far AS group_name
    FROM numbered
    WINDOW so_far AS (
        PARTITION BY tenant, ticket ORDER BY n NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),
settled AS (
    -- A new ticket is open once an agent has it.
    SELECT
        tenant, ticket, n, at_us, channel, priority, agent, group_name,
        CASE
            WHEN coalesce(said_status, 'new') <> 'new' THEN said_status
            WHEN coalesce(agent_n, 0) > coalesce(status_n, 0) THEN 'open'
            ELSE 'new'
        END AS status
    FROM carried
),
placed AS (
    -- Nobody owns a solved ticket, and it is with no group.
    SELECT
        tenant, ticket, n, at_us, channel, priority, status, agent, group_name,
        CASE WHEN status NOT IN ('solved', 'closed') THEN agent END AS owner,
        CASE WHEN status NOT IN ('solved', 'closed') THEN group_name END AS place,
        agent IS NULL AND status IN ('new', 'open') AS waiting
    FROM settled
)
SELECT
    tenant, ticket, n, at_us, channel, priority, status, agent, group_name, owner, place, waiting,
    lag(status) OVER beside AS was_status,
    lag(agent) OVER beside AS was_agent,
    lag(group_name) OVER beside AS was_group,
    lag(owner) OVER beside AS was_owner,
    lag(place) OVER beside AS was_place,
    lag(waiting) OVER beside AS was_waiting
FROM placed
WINDOW beside AS (PARTITION BY tenant, ticket ORDER BY n NULLS LAST)
