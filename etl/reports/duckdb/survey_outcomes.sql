-- Of each campaign the contacts that were called in the period, by the best that came of their calls. Contacts are bits of a
-- set of the campaign's (the table `low` has its first): whose calls came to nothing better than a place are those of all places up to it, less those before.
WITH
-- :outcome
, met AS (
  -- DuckDB hashes each text of a block once, and groups numbers faster than texts.
  SELECT c.campaign, hash(c.disposition) AS disposition, bitstring_agg(c.contact - l.least_contact, 0, :span) AS people
  FROM call_fact AS c
  JOIN low AS l ON l.campaign = c.campaign
  WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us AND c.contact IS NOT NULL
    AND (:campaign IS NULL OR c.campaign = :campaign)
  GROUP BY c.campaign, hash(c.disposition)
), placed AS (
  SELECT m.campaign, COALESCE(o.place, 6) AS place, bit_or(m.people) AS people
  FROM met AS m LEFT JOIN outcome AS o ON hash(o.disposition) = m.disposition
  GROUP BY m.campaign, COALESCE(o.place, 6)
), so_far AS (
  SELECT campaign, place, bit_count(bit_or(people) OVER (
           PARTITION BY campaign ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
         )) AS contacts
  FROM placed
), best AS (
  SELECT s.campaign, o.outcome,
         s.contacts - COALESCE(lag(s.contacts) OVER (PARTITION BY s.campaign ORDER BY s.place), 0) AS contacts
  FROM so_far AS s JOIN (SELECT DISTINCT place, outcome FROM outcome) AS o ON o.place = s.place
)
SELECT campaign, CAST(SUM(contacts) AS BIGINT) AS contacts,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'complete'), 0) AS BIGINT) AS complete,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'partial'), 0) AS BIGINT) AS partial,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'refusal'), 0) AS BIGINT) AS refusal,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'other'), 0) AS BIGINT) AS other,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'non_contact'), 0) AS BIGINT) AS non_contact,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'unknown'), 0) AS BIGINT) AS unknown,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome = 'not_eligible'), 0) AS BIGINT) AS not_eligible,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome <> 'not_eligible'), 0) AS BIGINT) AS taken_in,
       CAST(COALESCE(SUM(contacts) FILTER (WHERE outcome IN ('complete', 'partial', 'refusal', 'other')), 0) AS BIGINT)
         AS contacted
FROM best
GROUP BY campaign
