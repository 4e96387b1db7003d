-- One row a ticket: what can be told of its events without their order.
SELECT
    tenant,
    subject AS ticket,
    min(occurred_us) AS first_us,
    coalesce(min(occurred_us) FILTER (WHERE type = 'ticket.created'), min(occurred_us)) AS created_us,
    count(*) FILTER (WHERE type = 'ticket.created') = 0 AS created_inferred,
    min(occurred_us) FILTER (WHERE type = 'ticket.message' AND author = 'agent'
        AND coalesce(visibility, 'public') = 'public') AS agent_wrote_us,
    min(occurred_us) FILTER (WHERE type = 'ticket.message' AND author = 'customer'
        AND coalesce(visibility, 'public') = 'public') AS customer_wrote_us,
    count(*) FILTER (WHERE type = 'ticket.message' AND author = 'agent'
        AND coalesce(visibility, 'public') = 'public') AS messages_agent,
    count(*) FILTER (WHERE type = 'ticket.message' AND author = 'customer'
        AND coalesce(visibility, 'public') = 'public') AS messages_customer,
    count(*) FILTER (WHERE type = 'ticket.message' AND visibility = 'internal') AS messages_internal,
    count(*) FILTER (WHERE type = 'ticket.message' AND author = 'bot'
        AND coalesce(visibility, 'public') = 'public') AS messages_bot,
    count(*) FILTER (WHERE ingested_us - occurred_us > :late_after_us) > 0 AS late
FROM history_ticket
GROUP BY tenant, subject
