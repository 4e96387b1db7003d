SELECT node, trunk, at_us, net, rise, begun_in_second, days,
       CAST(SUM(net) OVER (PARTITION BY node, trunk ORDER BY at_us NULLS LAST
                           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) - net AS calls_before
FROM (
  SELECT node, trunk, at_us, CAST(SUM(net) AS BIGINT) AS net, CAST(SUM(rise) AS BIGINT) AS rise,
         CAST(SUM(begun_in_second) AS BIGINT) AS begun_in_second, COUNT(*) AS days
  FROM load_quarter
  WHERE tenant = :tenant AND at_us < :to_us
  GROUP BY node, trunk, at_us
) AS summed
