-- The calls of the period, each with whether it was the first to reach its contact, or the first to be completed.
WITH first AS (
  SELECT campaign, contact,
         MIN(CASE WHEN is_human THEN dial END) AS reached_by,
         MIN(CASE WHEN disposition = 'completed' THEN dial END) AS completed_by
  FROM call_fact
  WHERE tenant = :tenant AND submitted_us < :to_us AND is_human AND (:campaign IS NULL OR campaign = :campaign)
  GROUP BY campaign, contact
)
SELECT c.campaign, c.dial, c.is_seizure, c.is_answered, c.is_human, c.cost_micro, c.currency,
       c.call AS subject, c.submitted_us AS at_us,
       c.is_human AND c.dial = f.reached_by AS is_first_reached,
       c.disposition = 'completed' AND c.dial = f.completed_by AS is_first_completed
FROM call_fact AS c
LEFT JOIN first AS f ON f.campaign = c.campaign AND f.contact = c.contact
WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
  AND (:campaign IS NULL OR c.campaign = :campaign)
