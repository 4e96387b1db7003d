-- The calls of the period; and for every moment at which their number on a trunk changed, how many there were then.
-- A call is on its trunk from the moment it was submitted until it hung up; a call that was on it before counts on.
WITH seized AS (
  SELECT node, trunk, submitted_us AS begin_us, COALESCE(hung_up_us, ended_us, :as_of_us) AS end_us
  FROM call_fact
  WHERE tenant = :tenant AND is_seizure AND submitted_us < :to_us
    AND COALESCE(hung_up_us, ended_us, :as_of_us) >= :from_us
    AND (:campaign IS NULL OR campaign = :campaign)
), edge AS (
  SELECT node, trunk, greatest(begin_us, :from_us) AS at_us, 1 AS step FROM seized
  UNION ALL
  SELECT node, trunk, end_us AS at_us, -1 AS step FROM seized WHERE end_us < :to_us
), moment AS (
  SELECT node, trunk, at_us, CAST(SUM(step) AS BIGINT) AS net FROM edge GROUP BY node, trunk, at_us
), on_trunk AS (
  SELECT node, trunk, at_us,
         CAST(SUM(net) OVER (PARTITION BY node, trunk ORDER BY at_us NULLS LAST
                             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS calls_at_once
  FROM moment
), begun AS (
  SELECT node, trunk, submitted_us - submitted_us % 1000000 AS at_us, COUNT(*) AS begun_in_second
  FROM call_fact
  WHERE tenant = :tenant AND is_seizure AND submitted_us >= :from_us AND submitted_us < :to_us
    AND (:campaign IS NULL OR campaign = :campaign)
  GROUP BY node, trunk, submitted_us - submitted_us % 1000000
)
SELECT node, trunk, call AS subject, submitted_us AS at_us, TRUE AS is_call, is_seizure, is_answered, is_human, is_ner,
       is_seizure AND ner_class <> 'excluded' AND NOT is_open AS is_judged, sip_code, pdd_us, ring_us, talk_us,
       CAST(NULL AS BIGINT) AS calls_at_once, CAST(NULL AS BIGINT) AS begun_in_second
FROM call_fact
WHERE tenant = :tenant AND submitted_us >= :from_us AND submitted_us < :to_us
  AND (:campaign IS NULL OR campaign = :campaign)
UNION ALL
SELECT node, trunk, NULL, at_us, FALSE, FALSE, FALSE, FALSE, FALSE, FALSE, NULL, NULL, NULL, NULL, calls_at_once, NULL
FROM on_trunk
UNION ALL
SELECT node, trunk, NULL, at_us, FALSE, FALSE, FALSE, FALSE, FALSE, FALSE, NULL, NULL, NULL, NULL, NULL, begun_in_second
FROM begun
