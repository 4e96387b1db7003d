-- One row a time in which an agent worked on a ticket; work begun twice is one time, until it has ended twice.
WITH work AS (
    SELECT
        tenant, subject AS ticket, agent, place, occurred_us AS at_us,
        CASE WHEN type = 'ticket.work_started' THEN 1 ELSE -1 END AS step
    FROM history_ticket
    WHERE type IN ('ticket.work_started', 'ticket.work_ended')
),
summed AS (
    SELECT
        tenant, ticket, agent, place, at_us, step,
        CAST(sum(step) OVER (
            PARTITION BY ticket, agent ORDER BY place NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS BIGINT) AS total
    FROM work
),
counted AS (
    -- An end whose start was lost closes nothing: the sum begins again from its lowest point.
    SELECT
        tenant, ticket, agent, place, at_us, step,
        total - least(0, min(total) OVER (
            PARTITION BY ticket, agent ORDER BY place NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )) AS depth
    FROM summed
),
times AS (
    SELECT
        tenant, ticket, agent, step,
        at_us AS begin_us,
        lead(at_us) OVER (PARTITION BY ticket, agent ORDER BY place NULLS LAST) AS end_us
    FROM counted
    WHERE (step = 1 AND depth = 1) OR (step = -1 AND depth = 0)
)
SELECT tenant, ticket, agent, begin_us, end_us
FROM times
WHERE step = 1 AND (end_us IS NULL OR end_us > begin_us)
