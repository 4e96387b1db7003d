-- The visits to the questions, in calls that were submitted in the period. Only the last valid answer of a call counts.
SELECT a.campaign, a.revision, a.step, a.visit, a.tries, a.invalid, a.no_input, a.is_last,
       CASE WHEN a.is_last THEN a.value END AS value,
       a.call AS subject, a.asked_us AS at_us
FROM answer_fact AS a
JOIN call_fact AS c ON c.tenant = a.tenant AND c.call = a.call
WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
  AND (:campaign IS NULL OR c.campaign = :campaign)
