-- The calls that were submitted in the period, with the person and the number, which only PostgreSQL holds.
SELECT c.*, c.call AS subject, c.submitted_us AS at_us, d.person, d.number, d.caller_id
FROM call_fact AS c
LEFT JOIN dialled AS d ON d.call = c.call
WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
  AND (:campaign IS NULL OR c.campaign = :campaign)
