-- One row a wait of the customer: from the first message that nobody had answered to the next public one of an agent.
WITH said AS (
    SELECT
        tenant, subject AS ticket, place, occurred_us AS at_us, author, agent,
        lag(author) OVER (PARTITION BY subject ORDER BY place NULLS LAST) AS author_before
    FROM history_ticket
    WHERE type = 'ticket.message' AND author IN ('customer', 'agent') AND coalesce(visibility, 'public') = 'public'
),
turns AS (
    SELECT
        tenant, ticket, author, place,
        at_us AS asked_us,
        lead(at_us) OVER beside AS answered_us,
        lead(agent) OVER beside AS agent
    FROM said
    WHERE author IS DISTINCT FROM author_before
    WINDOW beside AS (PARTITION BY ticket ORDER BY place NULLS LAST)
)
SELECT tenant, ticket, asked_us, answered_us, agent, place
FROM turns
WHERE author = 'customer'
