-- One row a call: its milestones, its verdict, what it cost. docs/metrics/calls.md says what each column means.
WITH
-- What a verdict counts as in ITU-T E.425's network effectiveness ratio, for a call that rang and for one that did not.
-- Q.850: 17 user_busy, 18 and 19 ring_no_answer, 21 terminal_reject; a person who answered is an answer whatever followed.
class_of (disposition, if_it_rang, if_not) AS (
    VALUES
        ('completed', 'answer', 'answer'),
        ('partial', 'answer', 'answer'),
        ('refused', 'answer', 'answer'),
        ('no_input', 'answer', 'answer'),
        ('hung_up', 'answer', 'answer'),
        ('dialogue_error', 'answer', 'answer'),
        ('rtp_lost', 'answer', 'answer'),
        ('busy', 'user_busy', 'user_busy'),
        ('no_answer', 'ring_no_answer', 'ring_no_answer'),
        ('unreachable', 'ring_no_answer', 'network'),
        ('rejected', 'terminal_reject', 'terminal_reject'),
        ('blocked', 'terminal_reject', 'terminal_reject'),
        ('invalid_number', 'network', 'network'),
        ('number_changed', 'network', 'network'),
        ('out_of_order', 'network', 'network'),
        ('congestion', 'network', 'network'),
        ('trunk_refused', 'network', 'network'),
        ('media_error', 'network', 'network'),
        ('cancelled', 'ring_no_answer', 'excluded'),
        ('unknown', 'excluded', 'excluded'),
        ('not_placed', 'not_seized', 'not_seized'),
        ('returned', 'not_seized', 'not_seized')
),
-- The first event of each type counts; `place` is unique in a subject's history.
event AS (
    SELECT
        tenant, subject, type, occurred_us, hung_up_us, campaign, contact, revision, wave, dial, number_dial, node, trunk,
        disposition, sip_code, cause, refusal, reason, result, step, language,
        row_number() OVER (PARTITION BY tenant, subject, type ORDER BY place ASC NULLS LAST) AS nth
    FROM history_call
),
told AS (
    SELECT
        tenant,
        subject AS call,
        max(campaign) AS campaign,
        max(contact) AS contact,
        coalesce(max(revision) FILTER (WHERE type = 'attempt.submitting' AND nth = 1), max(revision)) AS revision,
        max(wave) FILTER (WHERE type = 'attempt.submitting' AND nth = 1) AS wave,
        max(dial) FILTER (WHERE type = 'attempt.submitting' AND nth = 1) AS dial,
        max(number_dial) FILTER (WHERE type = 'attempt.submitting' AND nth = 1) AS number_dial,
        max(node) FILTER (WHERE type = 'attempt.submitting' AND nth = 1) AS node,
        max(trunk) FILTER (WHERE type = 'attempt.submitting' AND nth = 1) AS trunk,
        coalesce(min(occurred_us) FILTER (WHERE type = 'attempt.submitting'), min(occurred_us)) AS submitted_us,
        min(occurred_us) FILTER (WHERE type = 'attempt.accepted') AS accepted_us,
        min(occurred_us) FILTER (WHERE type = 'attempt.ringing') AS ringing_us,
        min(occurred_us) FILTER (WHERE type = 'attempt.answered') AS answered_us,
        min(occurred_us) FILTER (WHERE type = 'dialogue.started') AS audio_us,
        coalesce(
            max(hung_up_us) FILTER (WHERE type = 'attempt.ended' AND nth = 1),
            min(occurred_us) FILTER (WHERE type = 'attempt.closing')
        ) AS hung_up_us,
        min(occurred_us) FILTER (WHERE type = 'attempt.ended') AS ended_us,
        max(disposition) FILTER (WHERE type = 'attempt.ended' AND nth = 1) AS disposition,
        -- When our own ring limit ended it, Asterisk makes up a 480 that no carrier sent.
        max(CASE WHEN reason = 'ring_limit' THEN NULL ELSE sip_code END)
            FILTER (WHERE type = 'attempt.ended' AND nth = 1) AS sip_code,
        max(cause) FILTER (WHERE type = 'attempt.ended' AND nth = 1) AS cause,
        max(refusal) FILTER (WHERE type = 'attempt.ended' AND nth = 1) AS refusal,
        max(result) FILTER (WHERE type = 'dialogue.ended' AND nth = 1) AS result,
        max(step) FILTER (WHERE type = 'dialogue.ended' AND nth = 1) AS last_step,
        count(*) FILTER (WHERE type = 'dialogue.answered') AS answers,
        max(language) FILTER (WHERE type = 'dialogue.started' AND nth = 1) AS language
    FROM event
    GROUP BY tenant, subject
),
judged AS (
    SELECT
        told.*,
        CASE
            WHEN answered_us IS NOT NULL THEN 'answer'
            WHEN ended_us IS NULL THEN 'open'
            WHEN ringing_us IS NOT NULL THEN if_it_rang
            ELSE if_not
        END AS ner_class,
        -- Whether Asterisk took it up, for want of better evidence that an INVITE left.
        coalesce(accepted_us, ringing_us, answered_us, CAST(cause AS BIGINT)) IS NOT NULL AS was_taken_up,
        coalesce(ringing_us, answered_us) - coalesce(accepted_us, submitted_us) AS pdd_raw_us,
        coalesce(answered_us, hung_up_us) - ringing_us AS ring_raw_us,
        hung_up_us - answered_us AS talk_raw_us
    FROM told
    LEFT JOIN class_of ON class_of.disposition = told.disposition
),
measured AS (
    SELECT
        judged.*,
        ner_class = 'answer' AS is_answered,
        CASE
            WHEN ner_class = 'not_seized' THEN FALSE
            WHEN ner_class IN ('open', 'excluded') THEN was_taken_up
            ELSE TRUE
        END AS is_seizure,
        CASE WHEN pdd_raw_us < 0 THEN 0 ELSE pdd_raw_us END AS pdd_us,
        CASE WHEN ring_raw_us < 0 THEN 0 ELSE ring_raw_us END AS ring_us,
        CASE WHEN talk_raw_us < 0 THEN 0 ELSE talk_raw_us END AS talk_us,
        coalesce(pdd_raw_us < 0, FALSE) OR coalesce(ring_raw_us < 0, FALSE) OR coalesce(talk_raw_us < 0, FALSE)
            AS clock_skew
    FROM judged
),
-- Whole steps of seconds, counted in integers: (a - a % b) / b has no rest, so the division is exact.
billed AS (
    SELECT
        measured.*,
        tariff.currency,
        tariff.connect_micro,
        tariff.minute_micro,
        CASE
            WHEN tariff.trunk IS NULL OR ended_us IS NULL OR (is_answered AND talk_us IS NULL) THEN NULL
            WHEN coalesce(talk_us, 0) = 0 THEN CAST(0 AS BIGINT)
            ELSE greatest(
                initial_s,
                CAST(
                    (talk_us + increment_s * 1000000 - 1 - (talk_us + increment_s * 1000000 - 1) % (increment_s * 1000000))
                    / (increment_s * 1000000) AS BIGINT
                ) * increment_s
            )
        END AS billed_s
    FROM measured
    LEFT JOIN tariff
        ON tariff.trunk = measured.trunk
        AND measured.submitted_us >= tariff.from_us
        AND measured.submitted_us < tariff.until_us
)
SELECT
    tenant, call, campaign, contact, revision, wave, dial, node, trunk, submitted_us, accepted_us, ringing_us, answered_us,
    audio_us, hung_up_us, ended_us, disposition, sip_code, cause, refusal, result, last_step, answers, language,
    is_seizure,
    is_answered,
    is_answered AS is_human,
    is_seizure AND ner_class IN ('answer', 'user_busy', 'ring_no_answer', 'terminal_reject') AS is_ner,
    pdd_us,
    ring_us,
    talk_us,
    billed_s,
    CASE
        WHEN billed_s = 0 THEN CAST(0 AS BIGINT)
        -- Half up: (2a + 60) / 120, whole.
        ELSE connect_micro + CAST(
            (2 * billed_s * minute_micro + 60 - (2 * billed_s * minute_micro + 60) % 120) / 120 AS BIGINT
        )
    END AS cost_micro,
    clock_skew,
    ended_us IS NULL AS is_open,
    number_dial,
    ner_class,
    currency
FROM billed
