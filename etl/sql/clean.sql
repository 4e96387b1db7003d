-- The history of a day's subjects: each event once, the copy dated first, with its place in its subject's order.
WITH single AS (
    SELECT together.*, 1 AS nth
    FROM together
    WHERE NOT EXISTS (SELECT 1 FROM repeated WHERE repeated.event_id = together.event_id)
    UNION ALL
    SELECT
        together.*,
        row_number() OVER (
            PARTITION BY together.event_id, subject
            ORDER BY occurred_us NULLS LAST, ingested_us NULLS LAST, type NULLS LAST
        ) AS nth
    FROM together
    WHERE EXISTS (SELECT 1 FROM repeated WHERE repeated.event_id = together.event_id)
)
SELECT
    single.*,
    row_number() OVER (
        PARTITION BY subject
        ORDER BY occurred_us NULLS LAST, seq NULLS LAST, type_rank NULLS LAST, event_id NULLS LAST
    ) AS place
FROM single
WHERE nth = 1
