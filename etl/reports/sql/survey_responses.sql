-- The contacts that were called in the period, each with how the last of their calls ended.
WITH placed AS (
  SELECT c.*, ROW_NUMBER() OVER (PARTITION BY c.contact ORDER BY c.submitted_us DESC NULLS LAST, c.call DESC NULLS LAST) AS from_last
  FROM call_fact AS c
  WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us AND c.campaign = :campaign
), called AS (
  SELECT contact, COUNT(*) AS calls, COUNT(CASE WHEN is_human THEN 1 END) AS calls_reached, MIN(submitted_us) AS first_us,
         COALESCE(MAX(CASE WHEN disposition = 'completed' THEN 1 END), 0) = 1 AS is_completed
  FROM placed GROUP BY contact
)
SELECT p.tenant, p.campaign, p.contact, r.person, r.number, p.revision, p.language, p.disposition, p.result,
       n.calls, n.calls_reached, n.is_completed, n.first_us, p.submitted_us AS last_us,
       p.call AS subject, p.submitted_us AS at_us
FROM placed AS p
JOIN called AS n ON n.contact = p.contact
LEFT JOIN respondent AS r ON r.contact = p.contact
WHERE p.from_last = 1
