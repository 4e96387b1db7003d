-- Of each trunk the most calls that were on it at once in the period, and the most that a second began, from what each day's
-- calls made of each quarter of an hour. Where calls of two days meet in a quarter, `met` says what their facts say of it.
WITH quarter AS (
-- :quarter
)
SELECT q.node, q.trunk,
       CAST(greatest(
         COALESCE(MAX(COALESCE(m.calls_at_once, q.calls_before + q.rise)) FILTER (WHERE q.at_us >= :from_us), 0),
         COALESCE(SUM(q.net) FILTER (WHERE q.at_us < :from_us), 0)
       ) AS BIGINT) AS peak_channels,
       MAX(COALESCE(m.begun_in_second, q.begun_in_second)) FILTER (WHERE q.at_us >= :from_us) AS peak_cps
FROM quarter AS q
LEFT JOIN met AS m
  ON m.node IS NOT DISTINCT FROM q.node AND m.trunk IS NOT DISTINCT FROM q.trunk AND m.at_us = q.at_us
GROUP BY q.node, q.trunk
