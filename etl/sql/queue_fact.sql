-- One row a queue entry: every figure of docs/metrics/queues.md. Stretches that have not ended count in no sum.
WITH entries AS (
    SELECT
        tenant,
        entry,
        min_by(queue, n) FILTER (WHERE type = 'queue.entered' AND queue IS NOT NULL) AS queue,
        min_by(channel, n) FILTER (WHERE type = 'queue.entered' AND channel IS NOT NULL) AS channel,
        min_by(ticket, n) FILTER (WHERE type = 'queue.entered' AND ticket IS NOT NULL) AS ticket,
        min_by(agent, n) FILTER (WHERE type = 'queue.answered' AND agent IS NOT NULL) AS agent,
        min(at_us) AS first_us,
        coalesce(min(at_us) FILTER (WHERE type = 'queue.entered'), min(at_us)) AS entered_us,
        min(at_us) FILTER (WHERE type = 'queue.answered') AS answered_us,
        min(at_us) FILTER (WHERE type = 'queue.ended') AS ended_us,
        max(at_us) FILTER (WHERE type = 'queue.wrapped') AS wrapped_us,
        min_by(reason, n) FILTER (WHERE type = 'queue.ended' AND reason IS NOT NULL) AS outcome,
        count(*) FILTER (WHERE type = 'queue.transferred') AS transfers,
        count(*) FILTER (WHERE type = 'queue.declined') AS declined
    FROM queue_state
    GROUP BY tenant, entry
),
rung AS (
    -- Ringing at several agents at once is counted once: each counts from where the ones before it had ended.
    SELECT
        tenant, entry, begin_us, end_us,
        max(end_us) OVER (
            PARTITION BY tenant, entry
            ORDER BY begin_us NULLS LAST, end_us NULLS LAST, agent NULLS LAST
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS counted_to_us
    FROM queue_work_fact
    WHERE state = 'ring' AND end_us IS NOT NULL
),
rings AS (
    SELECT
        tenant,
        entry,
        CAST(sum(greatest(0, end_us - greatest(begin_us, coalesce(counted_to_us, begin_us)))) AS BIGINT) AS ring_us
    FROM rung
    GROUP BY tenant, entry
),
worked AS (
    SELECT
        tenant,
        entry,
        CAST(sum(end_us - begin_us) FILTER (WHERE state = 'talk') AS BIGINT) AS talk_us,
        CAST(sum(end_us - begin_us) FILTER (WHERE state = 'hold') AS BIGINT) AS hold_us,
        CAST(sum(end_us - begin_us) FILTER (WHERE state = 'acw') AS BIGINT) AS acw_us
    FROM queue_work_fact
    GROUP BY tenant, entry
)
SELECT
    entries.tenant,
    entries.entry,
    queue,
    channel,
    ticket,
    agent,
    entered_us,
    answered_us,
    ended_us,
    wrapped_us,
    outcome,
    CASE
        WHEN coalesce(answered_us, ended_us) < entered_us THEN 0
        ELSE coalesce(answered_us, ended_us) - entered_us
    END AS wait_us,
    coalesce(ring_us, 0) AS ring_us,
    coalesce(talk_us, 0) AS talk_us,
    coalesce(hold_us, 0) AS hold_us,
    acw_us,
    transfers,
    declined,
    ended_us IS NULL AS is_open,
    first_us < entered_us OR coalesce(ended_us < answered_us, FALSE) AS clock_skew
FROM entries
LEFT JOIN rings ON rings.tenant = entries.tenant AND rings.entry = entries.entry
LEFT JOIN worked ON worked.tenant = entries.tenant AND worked.entry = entries.entry
