-- The calls that were submitted in the period.
SELECT c.*, c.call AS subject, c.submitted_us AS at_us,
       c.is_seizure AND c.ner_class <> 'excluded' AND NOT c.is_open AS is_judged,
       c.is_human AND COALESCE(c.audio_us, c.hung_up_us) - c.answered_us > 2000000 AS is_silent
FROM call_fact AS c
WHERE c.tenant = :tenant AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
  AND (:campaign IS NULL OR c.campaign = :campaign)
