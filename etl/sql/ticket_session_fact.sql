-- One row a time in which one agent owned a ticket; it ends with another owner, in the queue, solved or closed.
WITH sessions AS (
    SELECT
        tenant, ticket, owner AS agent, group_name,
        at_us AS begin_us,
        lead(at_us) OVER (PARTITION BY ticket ORDER BY n NULLS LAST) AS end_us
    FROM ticket_state
    WHERE owner IS DISTINCT FROM was_owner
)
SELECT tenant, ticket, agent, group_name, begin_us, end_us
FROM sessions
WHERE agent IS NOT NULL AND (end_us IS NULL OR end_us > begin_us)
