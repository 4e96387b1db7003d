-- One row a stay of a ticket with a group, and how much of it the ticket waited for an agent.
WITH stays AS (
    SELECT
        tenant, ticket, group_name,
        min(begin_us) AS begin_us,
        CASE WHEN count(*) = count(end_us) THEN max(end_us) END AS end_us,
        CAST(coalesce(sum(end_us - begin_us) FILTER (WHERE waiting), 0) AS BIGINT) AS queue_us
    FROM ticket_piece
    WHERE group_name IS NOT NULL
    GROUP BY tenant, ticket, stay, group_name
)
SELECT tenant, ticket, group_name, begin_us, end_us, queue_us
FROM stays
WHERE end_us IS NULL OR end_us > begin_us
