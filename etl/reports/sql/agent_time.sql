-- What agents' time went into, cut at the edges of the report's rows, and what they did at which moment.
-- `handling` is work, `engaged` is work or being available, `logged_in` is any session, each counted once: of pieces
-- that overlap, each is only what no earlier one covers, so that their sum is the union.
WITH held AS (
  SELECT agent, session AS subject, state, code, begin_us, COALESCE(end_us, :as_of_us) AS end_us
  FROM agent_span_fact WHERE tenant = :tenant
  UNION ALL
  SELECT agent, entry, state, NULL, begin_us, COALESCE(end_us, :as_of_us) FROM queue_work_fact WHERE tenant = :tenant
  UNION ALL
  SELECT agent, ticket, 'ticket_work', NULL, begin_us, COALESCE(end_us, :as_of_us)
  FROM ticket_work_fact WHERE tenant = :tenant
), span AS (
  -- What began by a clock that is ahead of ours, after the cut-off, has not lasted yet.
  SELECT agent, subject, state, code, begin_us, end_us
  FROM held WHERE end_us > begin_us AND begin_us < :to_us AND end_us > :from_us
), together AS (
  SELECT 'handling' AS state, agent, subject, begin_us, end_us
  FROM span WHERE state IN ('talk', 'hold', 'acw', 'ticket_work')
  UNION ALL
  SELECT 'engaged', agent, subject, begin_us, end_us
  FROM span WHERE state IN ('talk', 'hold', 'acw', 'ticket_work', 'available')
  UNION ALL
  SELECT 'logged_in', agent, subject, begin_us, end_us FROM span WHERE state IN ('available', 'busy', 'paused')
), followed AS (
  SELECT state, agent, subject, begin_us, end_us,
         MAX(end_us) OVER (
           PARTITION BY state, agent ORDER BY begin_us NULLS LAST, end_us NULLS LAST, subject NULLS LAST
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
         ) AS covered_us
  FROM together
), piece AS (
  SELECT agent, subject, state, code, begin_us, end_us FROM span
  UNION ALL
  SELECT agent, subject, state, NULL, greatest(begin_us, COALESCE(covered_us, begin_us)), end_us
  FROM followed
  WHERE end_us > COALESCE(covered_us, begin_us)
), done AS (
  SELECT agent, entry AS subject, 'answered' AS state, MIN(begin_us) AS at_us
  FROM queue_work_fact WHERE tenant = :tenant AND state = 'talk' GROUP BY agent, entry
  UNION ALL
  SELECT agent, entry, 'declined', end_us
  FROM queue_work_fact WHERE tenant = :tenant AND state = 'ring' AND ended_by = 'declined'
  UNION ALL
  SELECT w.agent, w.entry, 'transferred', w.end_us
  FROM queue_work_fact AS w
  WHERE w.tenant = :tenant AND w.state IN ('talk', 'hold') AND w.ended_by = 'transferred'
    AND NOT EXISTS (
      -- Who hands it to oneself, off hold, talks on.
      SELECT 1 FROM queue_work_fact AS own
      WHERE own.tenant = w.tenant AND own.entry = w.entry AND own.agent = w.agent AND own.begin_us = w.end_us
        AND own.state = 'talk'
    )
  UNION ALL
  SELECT agent, session, 'login', MIN(begin_us) FROM agent_span_fact WHERE tenant = :tenant GROUP BY agent, session
  UNION ALL
  SELECT last_agent, ticket, 'solved', solved_us FROM ticket_fact WHERE tenant = :tenant AND last_agent IS NOT NULL
  UNION ALL
  SELECT from_name, ticket, 'passed_on', at_us FROM ticket_move_fact WHERE tenant = :tenant AND what = 'agent'
)
SELECT p.agent, p.state, p.code, p.subject, s.start_us AS at_us,
       least(p.end_us, s.end_us) - greatest(p.begin_us, s.start_us) AS piece_us
FROM piece AS p
JOIN slot AS s ON p.begin_us < s.end_us AND p.end_us > s.start_us
UNION ALL
SELECT agent, state, NULL, subject, at_us, NULL FROM done WHERE at_us >= :from_us AND at_us < :to_us
