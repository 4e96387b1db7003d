-- Of each dial the contacts that it was the first to reach, and to complete with. Contacts are bits of a set of the campaign's:
-- a hundred million calls leave no room for a row a contact. The table `low` has each campaign's first.
WITH met AS (
  SELECT c.campaign, c.dial, c.submitted_us >= :from_us AS is_in_period,
         COALESCE(c.disposition = 'completed', FALSE) AS is_completed,
         bitstring_agg(c.contact - l.least_contact, 0, :span) AS people
  FROM call_fact AS c
  JOIN low AS l ON l.campaign = c.campaign
  WHERE c.tenant = :tenant AND c.submitted_us < :to_us AND c.is_human AND c.dial IS NOT NULL AND c.contact IS NOT NULL
    AND (:campaign IS NULL OR c.campaign = :campaign)
  GROUP BY c.campaign, c.dial, is_in_period, is_completed
), by_dial AS (
  SELECT campaign, dial, bit_or(people) AS ever, bit_or(people) FILTER (WHERE is_in_period) AS reached,
         bit_or(people) FILTER (WHERE is_completed) AS ever_completed,
         bit_or(people) FILTER (WHERE is_in_period AND is_completed) AS completed
  FROM met GROUP BY campaign, dial
), beside AS (
  SELECT campaign, dial, reached, completed,
         bit_or(ever) OVER earlier AS reached_before, bit_or(ever_completed) OVER earlier AS completed_before
  FROM by_dial
  WINDOW earlier AS (PARTITION BY campaign ORDER BY dial ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT campaign, dial,
       COALESCE(bit_count(reached), 0) - COALESCE(bit_count(reached & reached_before), 0) AS first_reached,
       COALESCE(bit_count(completed), 0) - COALESCE(bit_count(completed & completed_before), 0) AS first_completed
FROM beside
