-- Which subjects began on a day: those that have news, and those that stayed as they were.
SELECT kind, subject, day, first_us
FROM cohort
WHERE day = :day
UNION ALL
SELECT kind, subject, day, first_us
FROM indexed
WHERE NOT EXISTS (SELECT 1 FROM cohort WHERE cohort.kind = indexed.kind AND cohort.subject = indexed.subject)
