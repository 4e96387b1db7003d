-- The contacts that were called in the period, each with the best that came of its calls, in the terms of AAPOR.
WITH outcome (disposition, place, outcome) AS (
  VALUES
    ('completed', 1, 'complete'),
    ('partial', 2, 'partial'),
    ('refused', 3, 'refusal'), ('hung_up', 3, 'refusal'),
    ('dialogue_error', 4, 'other'), ('rtp_lost', 4, 'other'),
    ('no_input', 5, 'non_contact'),
    ('busy', 6, 'unknown'), ('no_answer', 6, 'unknown'), ('unreachable', 6, 'unknown'), ('rejected', 6, 'unknown'),
    ('blocked', 6, 'unknown'), ('out_of_order', 6, 'unknown'), ('congestion', 6, 'unknown'),
    ('trunk_refused', 6, 'unknown'), ('media_error', 6, 'unknown'), ('cancelled', 6, 'unknown'),
    ('unknown', 6, 'unknown'), ('not_placed', 6, 'unknown'), ('returned', 6, 'unknown'),
    ('invalid_number', 7, 'not_eligible'), ('number_changed', 7, 'not_eligible')
), judged AS (
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
