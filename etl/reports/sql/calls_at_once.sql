-- How many calls there were, at every moment at which that changed and as each hour began: of each campaign, and, without
-- a campaign, of all of them. A call counts from the moment it was submitted until it hung up.
WITH seized AS (
  SELECT campaign, submitted_us AS begin_us, COALESCE(hung_up_us, ended_us, :as_of_us) AS end_us
  FROM call_fact
  WHERE tenant = :tenant AND is_seizure AND submitted_us < :to_us
    AND COALESCE(hung_up_us, ended_us, :as_of_us) >= :from_us
    AND (:campaign IS NULL OR campaign = :campaign)
), counted AS (
  SELECT campaign, begin_us, end_us FROM seized
  UNION ALL
  SELECT CAST(NULL AS BIGINT), begin_us, end_us FROM seized
), lived AS (
  SELECT campaign, MIN(begin_us) AS begin_us, MAX(end_us) AS end_us FROM counted GROUP BY campaign
), edge AS (
  SELECT campaign, greatest(begin_us, :from_us) AS at_us, 1 AS step FROM counted
  UNION ALL
  SELECT campaign, end_us AS at_us, -1 AS step FROM counted WHERE end_us < :to_us
  UNION ALL
  SELECT l.campaign, s.start_us AS at_us, 0 AS step
  FROM lived AS l JOIN slot AS s ON s.start_us >= l.begin_us AND s.start_us < l.end_us
), moment AS (
  SELECT campaign, at_us, CAST(SUM(step) AS BIGINT) AS net FROM edge GROUP BY campaign, at_us
)
SELECT campaign, at_us, CAST(NULL AS STRING) AS subject,
       CAST(SUM(net) OVER (PARTITION BY campaign ORDER BY at_us NULLS LAST
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS calls_at_once
FROM moment
