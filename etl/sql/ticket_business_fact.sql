-- One row a ticket whose group has opening hours, or whose tenant has: its durations within them.
WITH hours AS (
    SELECT DISTINCT group_name FROM opening
),
scheduled AS (
    -- The first group's hours hold for the whole ticket: who measures a promise must know from the start by which clock.
    SELECT tenant, ticket, hours.group_name
    FROM ticket_fact
    JOIN hours ON hours.group_name = ticket_fact.first_group
    UNION ALL
    SELECT tenant, ticket, hours.group_name
    FROM ticket_fact
    JOIN hours ON hours.group_name = ''
    WHERE NOT EXISTS (SELECT 1 FROM hours AS own WHERE own.group_name = ticket_fact.first_group)
),
stretches AS (
    SELECT tenant, ticket, 'first_assignment' AS what, created_us AS begin_us, created_us + first_assignment_us AS end_us
    FROM ticket_fact
    UNION ALL
    SELECT tenant, ticket, 'first_response', created_us, created_us + first_response_us FROM ticket_fact
    UNION ALL
    SELECT tenant, ticket, 'first_resolution', created_us, created_us + first_resolution_us FROM ticket_fact
    UNION ALL
    SELECT tenant, ticket, 'full_resolution', created_us, created_us + full_resolution_us FROM ticket_fact
    UNION ALL
    SELECT tenant, ticket, 'queue', begin_us, end_us FROM ticket_piece WHERE waiting
    UNION ALL
    SELECT tenant, ticket, 'owned', begin_us, end_us FROM ticket_session_fact
    UNION ALL
    SELECT tenant, ticket, 'handle', begin_us, end_us FROM ticket_work_fact
    UNION ALL
    SELECT tenant, ticket, status, begin_us, end_us FROM ticket_span_fact
),
measured AS (
    SELECT
        scheduled.tenant,
        scheduled.ticket,
        what,
        ends.opened_us + CASE WHEN ends.is_open THEN stretches.end_us - ends.begin_us ELSE 0 END
            - begins.opened_us - CASE WHEN begins.is_open THEN stretches.begin_us - begins.begin_us ELSE 0 END
            AS open_us
    FROM scheduled
    JOIN stretches ON stretches.ticket = scheduled.ticket
    -- There is a piece of the opening hours at every instant. Said as LEFT, because an engine that joined the hours of all days
    -- to a ticket first would make a thousand rows of each of its stretches.
    LEFT JOIN opening AS begins
        ON begins.group_name = scheduled.group_name
        AND begins.day = CAST(floor(stretches.begin_us / CAST(86400000000 AS DOUBLE)) AS BIGINT)
        AND stretches.begin_us >= begins.begin_us
        AND stretches.begin_us < begins.end_us
    LEFT JOIN opening AS ends
        ON ends.group_name = scheduled.group_name
        AND ends.day = CAST(floor(stretches.end_us / CAST(86400000000 AS DOUBLE)) AS BIGINT)
        AND stretches.end_us >= ends.begin_us
        AND stretches.end_us < ends.end_us
    WHERE stretches.end_us IS NOT NULL
),
summed AS (
    SELECT
        tenant,
        ticket,
        CAST(sum(open_us) FILTER (WHERE what = 'first_assignment') AS BIGINT) AS first_assignment_us,
        CAST(sum(open_us) FILTER (WHERE what = 'queue') AS BIGINT) AS queue_us,
        CAST(sum(open_us) FILTER (WHERE what = 'first_response') AS BIGINT) AS first_response_us,
        CAST(sum(open_us) FILTER (WHERE what IN ('new', 'open', 'hold')) AS BIGINT) AS requester_wait_us,
        CAST(sum(open_us) FILTER (WHERE what = 'pending') AS BIGINT) AS agent_wait_us,
        CAST(sum(open_us) FILTER (WHERE what = 'hold') AS BIGINT) AS hold_us,
        CAST(sum(open_us) FILTER (WHERE what = 'owned') AS BIGINT) AS owned_us,
        CAST(sum(open_us) FILTER (WHERE what = 'handle') AS BIGINT) AS handle_us,
        CAST(sum(open_us) FILTER (WHERE what = 'first_resolution') AS BIGINT) AS first_resolution_us,
        CAST(sum(open_us) FILTER (WHERE what = 'full_resolution') AS BIGINT) AS full_resolution_us
    FROM measured
    GROUP BY tenant, ticket
)
SELECT
    scheduled.tenant,
    scheduled.ticket,
    scheduled.group_name AS hours_of,
    first_assignment_us,
    coalesce(queue_us, 0) AS queue_us,
    first_response_us,
    coalesce(requester_wait_us, 0) AS requester_wait_us,
    coalesce(agent_wait_us, 0) AS agent_wait_us,
    coalesce(hold_us, 0) AS hold_us,
    coalesce(owned_us, 0) AS owned_us,
    handle_us,
    first_resolution_us,
    full_resolution_us
FROM scheduled
LEFT JOIN summed ON summed.ticket = scheduled.ticket
