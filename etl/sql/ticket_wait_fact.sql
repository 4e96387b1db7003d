-- One row a wait of the customer: from the first message that nobody had answered to the next public one of an agent.
WITH said AS (
    SELECT
        tenant, subject AS ticket, occurred_us AS at_us, author, agent,
        row_number() OVER in_order AS n,
        lag(author) OVER in_order AS before
    FROM history_ticket
    WHERE type = 'ticket.message' AND author IN ('customer', 'agent') AND coalesce(visibility, 'public') = 'public'
    WINDOW in_order AS (
        PARTITION BY tenant, subject
        ORDER BY occurred_us NULLS LAST, seq NULLS LAST, type_rank NULLS LAST, event_id NULLS LAST
    )
),
turns AS (
    SELECT
        tenant, ticket, author,
        at_us AS asked_us,
        lead(at_us) OVER beside AS answered_us,
        lead(agent) OVER beside AS agent
    FROM said
    WHERE author IS DISTINCT FROM before
    WINDOW beside AS (PARTITION BY tenant, ticket ORDER BY n NULLS LAST)
)
SELECT tenant, ticket, asked_us, answered_us, agent
FROM turns
WHERE author = 'customer'
