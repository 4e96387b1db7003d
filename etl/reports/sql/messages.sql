-- The messages that were written in the period, each on the channel that it names, or else on that of its ticket;
-- what the system told the customer nobody wrote.
SELECT COALESCE(m.channel, t.channel) AS channel, t.first_group AS group_name, m.subject, m.occurred_us AS at_us,
       m.author, COALESCE(m.visibility, 'public') = 'internal' AS is_internal
FROM history_ticket AS m
LEFT JOIN ticket_fact AS t ON t.tenant = m.tenant AND t.ticket = m.subject
WHERE m.tenant = :tenant AND m.type = 'ticket.message' AND m.occurred_us >= :from_us AND m.occurred_us < :to_us
  AND (m.author <> 'system' OR m.visibility = 'internal')
