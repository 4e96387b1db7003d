-- The contacts that were called in the period, each with the best that came of its calls, in the terms of AAPOR.
WITH
-- :outcome
, judged AS (
  SELECT c.campaign, c.contact, c.call, c.submitted_us,
         -- A call that goes on has come to nothing yet.
         COALESCE(o.outcome, 'unknown') AS outcome,
         -- The best outcome, and of equal ones the first; a contact has no two calls in one microsecond.
         COALESCE(o.place, 6) * 10000000000000000 + c.submitted_us AS worth
  FROM call_fact AS c
  LEFT JOIN outcome AS o ON o.disposition = c.disposition
  WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
    AND (:campaign IS NULL OR c.campaign = :campaign)
)
SELECT campaign, contact, min_by(call, worth) AS subject, min_by(submitted_us, worth) AS at_us,
       min_by(outcome, worth) AS outcome
FROM judged
GROUP BY campaign, contact
