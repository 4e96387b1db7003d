-- The visits to the steps of a flow, in calls that were submitted in the period.
SELECT s.campaign, s.revision, s.step, s.place, s.next_step, s.left_us - s.entered_us AS dwell_us,
       s.call AS subject, s.entered_us AS at_us
FROM step_fact AS s
JOIN call_fact AS c ON c.tenant = s.tenant AND c.call = s.call
WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
  AND (:campaign IS NULL OR c.campaign = :campaign)
