-- How many calls there were at once: of each campaign, and, without a campaign, of all of them. A call counts from the moment
-- it was submitted until it hung up. Gone through is only each stretch of 10 s that can hold the peak of its quarter of an
-- hour: more calls were there or began in it than there were, for certain, in another stretch of the quarter.
WITH seized AS (
  SELECT campaign, greatest(submitted_us, :from_us) AS begin_us, COALESCE(hung_up_us, ended_us, :as_of_us) AS end_us
  FROM call_fact
  WHERE tenant = :tenant AND is_seizure AND submitted_us < :to_us
    AND COALESCE(hung_up_us, ended_us, :as_of_us) > :from_us
    AND (:campaign IS NULL OR campaign = :campaign)
), counted AS (
  SELECT campaign, begin_us, end_us FROM seized
  UNION ALL
  SELECT CAST(NULL AS BIGINT), begin_us, end_us FROM seized
), lived AS (
  SELECT campaign, MIN(begin_us) AS begin_us, MAX(end_us) AS end_us FROM counted GROUP BY campaign
), changed AS (
  SELECT campaign, begin_us - begin_us % 10000000 AS stretch_us, COUNT(*) AS begun, 0 AS ended
  FROM counted GROUP BY campaign, begin_us - begin_us % 10000000
  UNION ALL
  SELECT campaign, end_us - end_us % 10000000, 0, COUNT(*)
  FROM counted WHERE end_us < :to_us GROUP BY campaign, end_us - end_us % 10000000
  UNION ALL
  SELECT l.campaign, s.start_us, 0, 0
  FROM lived AS l JOIN slot AS s ON s.start_us >= l.begin_us AND s.start_us < l.end_us
), stretch AS (
  SELECT campaign, stretch_us, CAST(SUM(begun) AS BIGINT) AS begun, CAST(SUM(begun - ended) AS BIGINT) AS net
  FROM changed GROUP BY campaign, stretch_us
), course AS (
  SELECT campaign, stretch_us, stretch_us - stretch_us % 900000000 AS quarter_us, begun, net,
         CAST(SUM(net) OVER (PARTITION BY campaign ORDER BY stretch_us NULLS LAST
                             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS calls_after
  FROM stretch
), certain AS (
  SELECT campaign, quarter_us, MIN(stretch_us) AS at_us, MAX(calls_after) AS calls_at_once
  FROM course GROUP BY campaign, quarter_us
), busy AS (
  SELECT c.campaign, c.stretch_us, c.calls_after - c.net AS calls_before
  FROM course AS c
  JOIN certain AS s ON s.campaign IS NOT DISTINCT FROM c.campaign AND s.quarter_us = c.quarter_us
  WHERE c.calls_after - c.net + c.begun > s.calls_at_once
), edge AS (
  SELECT b.campaign, b.stretch_us, b.calls_before, s.begin_us AS at_us, 1 AS step
  FROM counted AS s
  JOIN busy AS b ON b.campaign IS NOT DISTINCT FROM s.campaign AND b.stretch_us = s.begin_us - s.begin_us % 10000000
  UNION ALL
  SELECT b.campaign, b.stretch_us, b.calls_before, s.end_us, -1
  FROM counted AS s
  JOIN busy AS b ON b.campaign IS NOT DISTINCT FROM s.campaign AND b.stretch_us = s.end_us - s.end_us % 10000000
  WHERE s.end_us < :to_us
), moment AS (
  SELECT campaign, stretch_us, calls_before, at_us, CAST(SUM(step) AS BIGINT) AS net
  FROM edge GROUP BY campaign, stretch_us, calls_before, at_us
)
SELECT campaign, at_us, CAST(NULL AS STRING) AS subject, calls_at_once FROM certain
UNION ALL
SELECT campaign, at_us, NULL, calls_before + CAST(SUM(net) OVER (
         PARTITION BY campaign, stretch_us ORDER BY at_us NULLS LAST
         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
       ) AS BIGINT)
FROM moment
