-- One row a step that a call entered, in the order of its path. docs/metrics/questions.md says what each column means.
WITH entered AS (
    SELECT
        tenant,
        subject,
        step,
        occurred_us,
        row_number() OVER own AS place,
        lead(occurred_us) OVER own AS next_us,
        lead(step) OVER own AS next_step
    FROM history_call
    WHERE type = 'dialogue.step'
    -- Steps that say nothing share an instant; `try_no` is their place in the path.
    WINDOW own AS (
        PARTITION BY tenant, subject
        ORDER BY occurred_us ASC NULLS LAST, try_no ASC NULLS LAST, history_call.place ASC NULLS LAST
    )
),
finished AS (
    SELECT tenant, subject, min(occurred_us) AS over_us
    FROM history_call
    WHERE type = 'dialogue.ended'
    GROUP BY tenant, subject
)
SELECT
    call_fact.tenant,
    call_fact.call,
    call_fact.campaign,
    call_fact.contact,
    call_fact.revision,
    entered.step,
    entered.place,
    entered.occurred_us AS entered_us,
    coalesce(entered.next_us, finished.over_us) AS left_us,
    entered.next_step
FROM entered
JOIN call_fact ON call_fact.tenant = entered.tenant AND call_fact.call = entered.subject
LEFT JOIN finished ON finished.tenant = entered.tenant AND finished.subject = entered.subject
