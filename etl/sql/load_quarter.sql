-- Of each trunk and quarter of an hour, of the calls that began on this day: by how many they became more or fewer (`net`),
-- how many more they were at most than as it began (`rise`), and the most that one second began. A call is on its trunk from
-- the moment it was submitted until it hung up; one that is not over stays.
WITH seized AS (
    SELECT node, trunk, submitted_us AS begin_us, coalesce(hung_up_us, ended_us) AS end_us
    FROM call_fact
    WHERE is_seizure
),
edge AS (
    SELECT node, trunk, begin_us AS at_us, 1 AS step FROM seized
    UNION ALL
    SELECT node, trunk, greatest(end_us, begin_us), -1 FROM seized WHERE end_us IS NOT NULL
),
moment AS (
    SELECT node, trunk, at_us, CAST(sum(step) AS BIGINT) AS net
    FROM edge
    GROUP BY node, trunk, at_us
),
course AS (
    SELECT
        node, trunk, at_us - at_us % 900000000 AS quarter_us, net,
        CAST(sum(net) OVER (
            PARTITION BY node, trunk, at_us - at_us % 900000000 ORDER BY at_us NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS BIGINT) AS so_far
    FROM moment
),
rate AS (
    SELECT node, trunk, begin_us - begin_us % 1000000 AS second_us, count(*) AS begun
    FROM seized
    GROUP BY node, trunk, begin_us - begin_us % 1000000
),
fastest AS (
    SELECT node, trunk, second_us - second_us % 900000000 AS quarter_us, max(begun) AS begun_in_second
    FROM rate
    GROUP BY node, trunk, second_us - second_us % 900000000
),
risen AS (
    SELECT
        node, trunk, quarter_us, CAST(sum(net) AS BIGINT) AS net, greatest(max(so_far), 0) AS rise
    FROM course
    GROUP BY node, trunk, quarter_us
)
SELECT
    :tenant AS tenant, risen.node, risen.trunk, risen.quarter_us AS at_us, net, rise,
    coalesce(begun_in_second, 0) AS begun_in_second
FROM risen
LEFT JOIN fastest
    ON fastest.node IS NOT DISTINCT FROM risen.node
    AND fastest.trunk IS NOT DISTINCT FROM risen.trunk
    AND fastest.quarter_us = risen.quarter_us
