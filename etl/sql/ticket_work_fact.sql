-- One row a time in which an agent worked on a ticket; work begun twice is one time, until it has ended twice.
WITH work AS (
    SELECT
        tenant, subject AS ticket, agent, occurred_us AS at_us,
        CASE WHEN type = 'ticket.work_started' THEN 1 ELSE -1 END AS step,
        row_number() OVER (
            PARTITION BY tenant, subject, agent
            ORDER BY occurred_us NULLS LAST, seq NULLS LAST, type_rank NULLS LAST, event_id NULLS LAST
        ) AS n
    FROM history_ticket
    WHERE type IN ('ticket.work_started', 'ticket.work_ended')
),
summed AS (
    SELECT
        tenant, ticket, agent, at_us, step, n,
        CAST(sum(step) OVER (
            PARTITION BY tenant, ticket, agent ORDER BY n NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS BIGINT) AS total
    FROM work
),
open_work AS (
    -- An end whose start was lost closes nothing: the sum begins again from its lowest point.
    SELECT
        tenant, ticket, agent, at_us, step, n,
        total - least(0, min(total) OVER (
            PARTITION BY tenant, ticket, agent ORDER BY n NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )) AS depth
    FROM summed
),
times AS (
    SELECT
        tenant, ticket, agent, step,
        at_us AS begin_us,
        lead(at_us) OVER (PARTITION BY tenant, ticket, agent ORDER BY n NULLS LAST) AS end_us
    FROM open_work
    WHERE (step = 1 AND depth = 1) OR (step = -1 AND depth = 0)
)
SELECT tenant, ticket, agent, begin_us, end_us
FROM times
WHERE step = 1
