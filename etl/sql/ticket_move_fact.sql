-- One row a transfer: from one agent to another, or from one group to another; a first one is no transfer.
WITH moves AS (
    SELECT tenant, ticket, n, at_us, 'agent' AS what, was_agent AS from_name, agent AS to_name
    FROM ticket_state
    WHERE was_agent <> agent
    UNION ALL
    SELECT tenant, ticket, n, at_us, 'group' AS what, was_group AS from_name, group_name AS to_name
    FROM ticket_state
    WHERE was_group <> group_name
),
beside AS (
    SELECT
        tenant, ticket, at_us, what, from_name, to_name, n,
        lag(from_name) OVER before AS last_from,
        lag(to_name) OVER before AS last_to
    FROM moves
    WINDOW before AS (PARTITION BY ticket, what ORDER BY n NULLS LAST)
)
SELECT
    tenant, ticket, at_us, what, from_name, to_name,
    coalesce(last_from = to_name AND last_to = from_name, FALSE) AS ping_pong,
    n AS place
FROM beside
