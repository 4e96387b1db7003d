-- One row a ticket: every figure of docs/metrics/tickets.md. Stretches that have not ended count in no sum.
WITH queued AS (
    SELECT tenant, ticket, CAST(sum(end_us - begin_us) AS BIGINT) AS queue_us
    FROM ticket_piece
    WHERE waiting
    GROUP BY tenant, ticket
),
spent AS (
    SELECT
        tenant,
        ticket,
        CAST(sum(end_us - begin_us) FILTER (WHERE status IN ('new', 'open', 'hold')) AS BIGINT) AS requester_wait_us,
        CAST(sum(end_us - begin_us) FILTER (WHERE status = 'pending') AS BIGINT) AS agent_wait_us,
        CAST(sum(end_us - begin_us) FILTER (WHERE status = 'hold') AS BIGINT) AS hold_us
    FROM ticket_span_fact
    GROUP BY tenant, ticket
),
owned AS (
    SELECT tenant, ticket, CAST(sum(end_us - begin_us) AS BIGINT) AS owned_us
    FROM ticket_session_fact
    GROUP BY tenant, ticket
),
handled AS (
    SELECT tenant, ticket, CAST(sum(end_us - begin_us) AS BIGINT) AS handle_us
    FROM ticket_work_fact
    GROUP BY tenant, ticket
),
moved AS (
    SELECT
        tenant,
        ticket,
        count(*) FILTER (WHERE what = 'agent') AS transfers_agent,
        count(*) FILTER (WHERE what = 'group') AS transfers_group,
        count(*) FILTER (WHERE ping_pong) AS ping_pong
    FROM ticket_move_fact
    GROUP BY tenant, ticket
),
known AS (
    SELECT
        ticket_opening.tenant, ticket_opening.ticket, channel, created_us, created_inferred, first_us, agent_wrote_us,
        -- An agent's message no later than the ticket is the ticket itself: it was opened by an agent.
        coalesce(agent_wrote_us <= created_us, FALSE) AND NOT coalesce(customer_wrote_us <= created_us, FALSE)
            AS opened_by_agent,
        first_group, last_group, first_agent, last_agent, priority, status, agent_stations, group_stations,
        messages_agent, messages_customer, messages_internal, messages_bot, assigned_us, first_solved_us,
        first_reopened_us, reopens, late,
        -- The quiet week after which a solved ticket is judged.
        first_solved_us + 604800000000 AS one_touch_final_us,
        CASE WHEN status IN ('solved', 'closed') THEN last_solved_us END AS solved_us,
        CASE WHEN status = 'closed' THEN last_closed_us END AS closed_us
    FROM ticket_opening
    JOIN ticket_course ON ticket_course.ticket = ticket_opening.ticket
),
replied AS (
    SELECT
        known.tenant,
        known.ticket,
        min(occurred_us) FILTER (WHERE occurred_us > created_us) AS next_wrote_us,
        count(*) FILTER (WHERE occurred_us <= one_touch_final_us) AS touches
    FROM history_ticket
    JOIN known ON known.ticket = history_ticket.subject
    WHERE type = 'ticket.message' AND author = 'agent' AND coalesce(visibility, 'public') = 'public'
    GROUP BY known.tenant, known.ticket
),
timed AS (
    SELECT
        known.*,
        CASE WHEN opened_by_agent THEN next_wrote_us ELSE agent_wrote_us END AS responded_us,
        coalesce(touches, 0) AS touches
    FROM known
    LEFT JOIN replied ON replied.ticket = known.ticket
)
SELECT
    timed.tenant,
    timed.ticket,
    channel,
    created_us,
    created_inferred,
    first_group,
    last_group,
    first_agent,
    last_agent,
    priority,
    status,
    CASE WHEN assigned_us < created_us THEN 0 ELSE assigned_us - created_us END AS first_assignment_us,
    coalesce(queue_us, 0) AS queue_us,
    CASE WHEN responded_us < created_us THEN 0 ELSE responded_us - created_us END AS first_response_us,
    coalesce(requester_wait_us, 0) AS requester_wait_us,
    coalesce(agent_wait_us, 0) AS agent_wait_us,
    coalesce(hold_us, 0) AS hold_us,
    coalesce(owned_us, 0) AS owned_us,
    handle_us,
    coalesce(transfers_agent, 0) AS transfers_agent,
    coalesce(transfers_group, 0) AS transfers_group,
    coalesce(ping_pong, 0) AS ping_pong,
    agent_stations,
    group_stations,
    messages_agent,
    messages_customer,
    messages_internal,
    messages_bot,
    first_solved_us IS NOT NULL AND touches <= 1 AND coalesce(first_reopened_us > one_touch_final_us, TRUE)
        AS one_touch,
    one_touch_final_us,
    CASE WHEN first_solved_us < created_us THEN 0 ELSE first_solved_us - created_us END AS first_resolution_us,
    CASE WHEN solved_us < created_us THEN 0 ELSE solved_us - created_us END AS full_resolution_us,
    reopens,
    solved_us,
    closed_us,
    first_us < created_us AS clock_skew,
    late
FROM timed
LEFT JOIN queued ON queued.ticket = timed.ticket
LEFT JOIN spent ON spent.ticket = timed.ticket
LEFT JOIN owned ON owned.ticket = timed.ticket
LEFT JOIN handled ON handled.ticket = timed.ticket
LEFT JOIN moved ON moved.ticket = timed.ticket
