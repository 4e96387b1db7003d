-- One row an event that can change a ticket: what the ticket was before it, and what it is from it on.
WITH told AS (
    -- What each event says of status, agent and group: NULL says nothing, '' says nobody.
    SELECT
        tenant,
        subject AS ticket,
        place AS n,
        occurred_us AS at_us,
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
    -- A ticket lives from its first event on, even if that is a message and its beginning was lost.
    WHERE place = 1 OR type NOT IN ('ticket.message', 'ticket.work_started', 'ticket.work_ended')
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
    FROM told
    WINDOW so_far AS (
        PARTITION BY ticket ORDER BY n NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
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
beside AS (
    SELECT
        tenant, ticket, n, at_us, channel, priority, status, agent, group_name,
        lag(status) OVER before AS was_status,
        lag(agent) OVER before AS was_agent,
        lag(group_name) OVER before AS was_group
    FROM settled
    WINDOW before AS (PARTITION BY ticket ORDER BY n NULLS LAST)
)
-- Nobody owns a solved ticket, and it is with no group.
SELECT
    tenant, ticket, n, at_us, channel, priority, status, agent, group_name, was_status, was_agent, was_group,
    CASE WHEN status NOT IN ('solved', 'closed') THEN agent END AS owner,
    CASE WHEN status NOT IN ('solved', 'closed') THEN group_name END AS in_group,
    agent IS NULL AND status IN ('new', 'open') AS waiting,
    CASE WHEN was_status NOT IN ('solved', 'closed') THEN was_agent END AS was_owner,
    CASE WHEN was_status NOT IN ('solved', 'closed') THEN was_group END AS was_in_group,
    was_agent IS NULL AND was_status IN ('new', 'open') AS was_waiting
FROM beside
