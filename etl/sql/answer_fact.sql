-- One row a question and visit that a call reached, answered or not. docs/metrics/questions.md says what a column means.
WITH about AS (
    SELECT
        tenant,
        subject,
        step,
        visit,
        type,
        occurred_us,
        try_no,
        outcome,
        value,
        keys,
        type = 'dialogue.answered' OR (type = 'dialogue.tried' AND outcome = 'accepted') AS is_answer,
        row_number() OVER (
            PARTITION BY
                tenant, subject, step, visit,
                type = 'dialogue.answered' OR (type = 'dialogue.tried' AND outcome = 'accepted')
            ORDER BY place ASC NULLS LAST
        ) AS nth
    FROM history_call
    WHERE
        type IN ('dialogue.answered', 'dialogue.tried')
        OR (type = 'dialogue.step' AND code IN ('ask', 'menu', 'callback'))
),
asked AS (
    SELECT
        tenant,
        subject,
        step,
        visit,
        min(occurred_us) FILTER (WHERE type = 'dialogue.step') AS asked_us,
        min(occurred_us) FILTER (WHERE is_answer AND nth = 1) AS answered_us,
        max(value) FILTER (WHERE is_answer AND nth = 1) AS value,
        max(keys) FILTER (WHERE is_answer AND nth = 1) AS keys,
        count(*) FILTER (WHERE is_answer AND nth = 1) AS answers,
        count(DISTINCT try_no) FILTER (WHERE outcome = 'silence') AS no_input,
        count(DISTINCT try_no) FILTER (WHERE outcome IN ('not_allowed', 'out_of_range', 'too_short')) AS invalid
    FROM about
    GROUP BY tenant, subject, step, visit
)
SELECT
    call_fact.tenant,
    call_fact.call,
    call_fact.campaign,
    call_fact.contact,
    call_fact.revision,
    asked.step,
    asked.visit,
    asked.asked_us,
    asked.answered_us,
    asked.value,
    asked.keys,
    asked.answers + asked.no_input + asked.invalid AS tries,
    asked.invalid,
    asked.no_input,
    asked.answers > 0
    AND asked.visit = max(CASE WHEN asked.answers > 0 THEN asked.visit END) OVER (
        PARTITION BY asked.tenant, asked.subject, asked.step
    ) AS is_last
FROM asked
JOIN call_fact ON call_fact.tenant = asked.tenant AND call_fact.call = asked.subject
