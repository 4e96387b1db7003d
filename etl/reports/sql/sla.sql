-- What was promised for the tickets that were created, and the customers' waits that began, in the period.
WITH promise AS (
  SELECT 'first_response' AS target, channel, first_group AS group_name, ticket, created_us AS at_us,
         first_response_us AS took_us, :first_response_us AS within_us
  FROM ticket_fact WHERE tenant = :tenant AND created_us >= :from_us AND created_us < :to_us
  UNION ALL
  SELECT 'full_resolution', channel, first_group, ticket, created_us, full_resolution_us, :resolution_us
  FROM ticket_fact WHERE tenant = :tenant AND created_us >= :from_us AND created_us < :to_us
  UNION ALL
  SELECT 'next_response', t.channel, t.first_group, w.ticket, w.asked_us, w.answered_us - w.asked_us, :next_response_us
  FROM ticket_wait_fact AS w
  LEFT JOIN ticket_fact AS t ON t.tenant = w.tenant AND t.ticket = w.ticket
  WHERE w.tenant = :tenant AND w.asked_us >= :from_us AND w.asked_us < :to_us
)
SELECT target, channel, group_name, ticket AS subject, at_us, took_us, within_us,
       COALESCE(took_us <= within_us, FALSE) AS is_met,
       COALESCE(took_us, :as_of_us - at_us) > within_us AS is_breached,
       took_us IS NULL AND :as_of_us - at_us <= within_us AS is_pending
FROM promise
