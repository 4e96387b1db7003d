-- One row a piece of a ticket's time with one group, all of it waiting for an agent or none of it.
WITH edges AS (
    SELECT
        tenant, ticket, n, at_us, in_group, waiting,
        CASE WHEN in_group IS DISTINCT FROM was_in_group THEN 1 ELSE 0 END AS moved
    FROM ticket_state
    WHERE in_group IS DISTINCT FROM was_in_group OR waiting IS DISTINCT FROM was_waiting
)
SELECT
    tenant, ticket, in_group AS group_name, waiting,
    CAST(sum(moved) OVER so_far AS BIGINT) AS stay,
    at_us AS begin_us,
    lead(at_us) OVER beside AS end_us
FROM edges
WINDOW
    so_far AS (
        PARTITION BY ticket ORDER BY n NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ),
    beside AS (PARTITION BY ticket ORDER BY n NULLS LAST)
