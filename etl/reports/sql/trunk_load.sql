-- Of each trunk the most calls that were on it at once in the period, and the most that a second began. A call is on its
-- trunk from the moment it was submitted until it hung up; one that was on it before counts on. Gone through is only each
-- stretch of 10 s that can hold the peak: more calls were there or began in it than there were, for certain, in another.
WITH seized AS (
  SELECT node, trunk, greatest(submitted_us, :from_us) AS begin_us, COALESCE(hung_up_us, ended_us, :as_of_us) AS end_us
  FROM call_fact
  WHERE tenant = :tenant AND is_seizure AND submitted_us < :to_us
    AND COALESCE(hung_up_us, ended_us, :as_of_us) > :from_us
    AND (:campaign IS NULL OR campaign = :campaign)
), changed AS (
  SELECT node, trunk, begin_us - begin_us % 10000000 AS stretch_us, COUNT(*) AS begun, 0 AS ended
  FROM seized GROUP BY node, trunk, begin_us - begin_us % 10000000
  UNION ALL
  SELECT node, trunk, end_us - end_us % 10000000, 0, COUNT(*)
  FROM seized WHERE end_us < :to_us GROUP BY node, trunk, end_us - end_us % 10000000
), stretch AS (
  SELECT node, trunk, stretch_us, CAST(SUM(begun) AS BIGINT) AS begun, CAST(SUM(begun - ended) AS BIGINT) AS net
  FROM changed GROUP BY node, trunk, stretch_us
), course AS (
  SELECT node, trunk, stretch_us, begun, CAST(SUM(net) OVER (
           PARTITION BY node, trunk ORDER BY stretch_us NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
         ) AS BIGINT) AS calls_after, net
  FROM stretch
), certain AS (
  SELECT node, trunk, MAX(calls_after) AS calls_at_once FROM course GROUP BY node, trunk
), busy AS (
  SELECT c.node, c.trunk, c.stretch_us, c.calls_after - c.net AS calls_before
  FROM course AS c JOIN certain AS s ON s.node IS NOT DISTINCT FROM c.node AND s.trunk IS NOT DISTINCT FROM c.trunk
  WHERE c.calls_after - c.net + c.begun > s.calls_at_once
), edge AS (
  SELECT b.node, b.trunk, b.stretch_us, b.calls_before, s.begin_us AS at_us, 1 AS step
  FROM seized AS s
  JOIN busy AS b ON b.node IS NOT DISTINCT FROM s.node AND b.trunk IS NOT DISTINCT FROM s.trunk
    AND b.stretch_us = s.begin_us - s.begin_us % 10000000
  UNION ALL
  SELECT b.node, b.trunk, b.stretch_us, b.calls_before, s.end_us, -1
  FROM seized AS s
  JOIN busy AS b ON b.node IS NOT DISTINCT FROM s.node AND b.trunk IS NOT DISTINCT FROM s.trunk
    AND b.stretch_us = s.end_us - s.end_us % 10000000
  WHERE s.end_us < :to_us
), moment AS (
  SELECT node, trunk, stretch_us, calls_before, at_us, CAST(SUM(step) AS BIGINT) AS net
  FROM edge GROUP BY node, trunk, stretch_us, calls_before, at_us
), on_trunk AS (
  SELECT node, trunk, at_us, calls_before + CAST(SUM(net) OVER (
           PARTITION BY node, trunk, stretch_us ORDER BY at_us NULLS LAST
           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
         ) AS BIGINT) AS calls_at_once
  FROM moment
  UNION ALL
  SELECT node, trunk, :from_us, calls_at_once FROM certain
), in_second AS (
  SELECT node, trunk, submitted_us - submitted_us % 1000000 AS at_us, COUNT(*) AS begun_in_second
  FROM call_fact
  WHERE tenant = :tenant AND is_seizure AND submitted_us >= :from_us AND submitted_us < :to_us
    AND (:campaign IS NULL OR campaign = :campaign)
  GROUP BY node, trunk, submitted_us - submitted_us % 1000000
), rate AS (
  SELECT node, trunk, MAX(begun_in_second) AS peak_cps FROM in_second GROUP BY node, trunk
)
SELECT o.node, o.trunk, MAX(o.calls_at_once) AS peak_channels, MAX(r.peak_cps) AS peak_cps
FROM on_trunk AS o
LEFT JOIN rate AS r ON r.node IS NOT DISTINCT FROM o.node AND r.trunk IS NOT DISTINCT FROM o.trunk
GROUP BY o.node, o.trunk
