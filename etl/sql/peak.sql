-- The most calls at once and the most calls begun in one second, in each bucket (a table: begin_us, end_us, in order and
-- without overlap): of each trunk, each campaign, and the tenant. Calls carried into a bucket count in it; a call lasts
-- from its channel to its hangup, the end not included, and to `:as_of_us` while it is open.
WITH taken AS (
    SELECT
        tenant,
        trunk,
        campaign,
        coalesce(accepted_us, ringing_us, answered_us, submitted_us) AS begin_us,
        coalesce(hung_up_us, ended_us, :as_of_us) AS end_us
    FROM call_fact
    WHERE is_seizure
),
lasted AS (
    SELECT tenant, 'trunk' AS scope, trunk AS name, begin_us, greatest(begin_us, end_us) AS end_us FROM taken
    UNION ALL
    SELECT tenant, 'campaign' AS scope, CAST(campaign AS STRING) AS name, begin_us, greatest(begin_us, end_us) FROM taken
    UNION ALL
    SELECT tenant, 'tenant' AS scope, tenant AS name, begin_us, greatest(begin_us, end_us) FROM taken
),
-- A bucket's own line makes the level at its beginning known.
moment AS (
    SELECT tenant, scope, name, begin_us AS at_us, 1 AS begun, 0 AS done, CAST(NULL AS BIGINT) AS bucket_us FROM lasted
    UNION ALL
    SELECT tenant, scope, name, end_us AS at_us, 0 AS begun, 1 AS done, CAST(NULL AS BIGINT) AS bucket_us FROM lasted
    UNION ALL
    SELECT known.tenant, known.scope, known.name, bucket.begin_us, 0 AS begun, 0 AS done, bucket.begin_us
    FROM (SELECT DISTINCT tenant, scope, name FROM lasted) AS known
    CROSS JOIN bucket
),
-- Whoever hangs up in the same microsecond makes room first: sum an instant before anything is counted.
instant AS (
    SELECT
        tenant, scope, name, at_us,
        CAST(sum(begun) AS BIGINT) AS begun,
        CAST(sum(begun) - sum(done) AS BIGINT) AS change,
        max(bucket_us) AS bucket_us
    FROM moment
    GROUP BY tenant, scope, name, at_us
),
course AS (
    SELECT
        tenant, scope, name, at_us, begun,
        CAST(sum(change) OVER so_far AS BIGINT) AS calls,
        max(bucket_us) OVER so_far AS bucket_us
    FROM instant
    WINDOW so_far AS (
        PARTITION BY tenant, scope, name
        ORDER BY at_us ASC NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),
each_second AS (
    SELECT
        course.tenant, course.scope, course.name, bucket.begin_us, bucket.end_us,
        course.at_us - course.at_us % 1000000 AS second_us,
        max(course.calls) AS calls,
        CAST(sum(course.begun) AS BIGINT) AS begun
    FROM course
    JOIN bucket ON bucket.begin_us = course.bucket_us AND course.at_us < bucket.end_us
    GROUP BY
        course.tenant, course.scope, course.name, bucket.begin_us, bucket.end_us, course.at_us - course.at_us % 1000000
)
SELECT
    tenant, scope, name, begin_us, end_us,
    max(calls) AS peak_channels,
    max(begun) AS peak_cps,
    CAST(sum(begun) AS BIGINT) AS seizures
FROM each_second
GROUP BY tenant, scope, name, begin_us, end_us
