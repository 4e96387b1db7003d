-- The waits in queues that began in the period.
SELECT q.queue, q.channel, q.outcome, q.wait_us, q.ring_us, q.talk_us, q.hold_us, q.acw_us, q.transfers, q.declined,
       q.is_open, q.entry AS subject, q.entered_us AS at_us,
       q.answered_us IS NOT NULL AS is_answered,
       COALESCE(q.answered_us IS NULL AND q.outcome = 'abandoned', FALSE) AS is_abandoned,
       COALESCE(q.wait_us <= :service_us, FALSE) AS is_in_time,
       COALESCE(q.wait_us <= :short_us, FALSE) AS is_short
FROM queue_fact AS q
WHERE q.tenant = :tenant AND q.entered_us >= :from_us AND q.entered_us < :to_us
