-- What was promised for the tickets that were created, and the customers' waits that began, in the period; and how
-- long each took, or has taken so far, by the hours in `opening` of the ticket's first group, else of its tenant, else
-- by all hours.
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
), hours AS (
  SELECT DISTINCT group_name FROM opening
), clocked AS (
  SELECT p.target, p.channel, p.group_name, p.ticket, p.at_us, p.within_us, p.took_us IS NOT NULL AS is_finished,
         p.at_us + COALESCE(p.took_us, greatest(0, :as_of_us - p.at_us)) AS until_us,
         COALESCE(own.group_name, common.group_name) AS hours_of
  FROM promise AS p
  LEFT JOIN hours AS own ON own.group_name = p.group_name
  LEFT JOIN hours AS common ON common.group_name = ''
), measured AS (
  SELECT c.target, c.channel, c.group_name, c.ticket, c.at_us, c.within_us, c.is_finished,
         CASE WHEN c.hours_of IS NULL THEN 'calendar' ELSE 'opening' END AS hours,
         CASE
           WHEN c.hours_of IS NULL THEN c.until_us - c.at_us
           ELSE ends.opened_us + CASE WHEN ends.is_open THEN c.until_us - ends.begin_us ELSE 0 END
             - begins.opened_us - CASE WHEN begins.is_open THEN c.at_us - begins.begin_us ELSE 0 END
         END AS spent_us
  FROM clocked AS c
  LEFT JOIN opening AS begins
    ON begins.group_name = c.hours_of AND begins.day = CAST(floor(c.at_us / CAST(86400000000 AS DOUBLE)) AS BIGINT)
    AND c.at_us >= begins.begin_us AND c.at_us < begins.end_us
  LEFT JOIN opening AS ends
    ON ends.group_name = c.hours_of AND ends.day = CAST(floor(c.until_us / CAST(86400000000 AS DOUBLE)) AS BIGINT)
    AND c.until_us >= ends.begin_us AND c.until_us < ends.end_us
)
SELECT target, channel, group_name, hours, ticket AS subject, at_us, within_us,
       is_finished AND spent_us <= within_us AS is_met,
       spent_us > within_us AS is_breached,
       NOT is_finished AND spent_us <= within_us AS is_pending
FROM measured
