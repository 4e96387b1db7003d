-- The tickets, calls, waits and logins that have news, with the day on which each began and where it was counted before.
-- An event that comes to be known later may be earlier: it moves its subject to another day.
WITH seen AS (
    SELECT kind, subject, min(occurred_us) AS first_us, count(*) AS events
    FROM kept
    GROUP BY kind, subject
)
SELECT
    seen.kind,
    seen.subject,
    least(seen.first_us, subject_index.first_us) AS first_us,
    CAST(floor(least(seen.first_us, subject_index.first_us) / CAST(86400000000 AS DOUBLE)) AS BIGINT) AS day,
    subject_index.day AS was_day,
    seen.events
FROM seen
LEFT JOIN subject_index ON subject_index.kind = seen.kind AND subject_index.subject = seen.subject
