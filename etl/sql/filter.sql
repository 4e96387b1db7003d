-- How many events are read by metrics (no reason), how many are not and why, and how many came late.
WITH judged AS (
    SELECT
        CASE
            WHEN segment.kind IS NOT NULL THEN NULL
            WHEN segment.schema_v IS NULL THEN 'upcast_failed'
            WHEN known.name IS NOT NULL THEN 'newer_version'
            WHEN segment.type LIKE 'campaign.%' OR segment.type LIKE 'contact.%' THEN 'no_metric'
            ELSE 'unknown_type'
        END AS reason,
        ingested_us - occurred_us > :late_after_us AS is_late
    FROM segment
    LEFT JOIN known ON known.name = segment.type
)
SELECT reason, count(*) AS events, count(*) FILTER (WHERE is_late) AS late
FROM judged
GROUP BY reason
ORDER BY reason NULLS LAST
