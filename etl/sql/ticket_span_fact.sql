-- One row a span in which a ticket had one status; the last one has no end.
WITH spans AS (
    SELECT
        tenant, ticket, status,
        at_us AS begin_us,
        lead(at_us) OVER (PARTITION BY ticket ORDER BY n NULLS LAST) AS end_us
    FROM ticket_state
    WHERE status IS DISTINCT FROM was_status
)
SELECT tenant, ticket, status, begin_us, end_us
FROM spans
WHERE end_us IS NULL OR end_us > begin_us
