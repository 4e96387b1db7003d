-- One row a ticket: what can only be told from the order of its events.
WITH stations AS (
    SELECT
        tenant, ticket, agent,
        lag(agent) OVER (PARTITION BY ticket ORDER BY n NULLS LAST) AS before
    FROM ticket_state
    WHERE agent IS NOT NULL AND agent IS DISTINCT FROM was_agent
),
counted AS (
    SELECT tenant, ticket, count(*) AS agent_stations
    FROM stations
    WHERE agent IS DISTINCT FROM before
    GROUP BY tenant, ticket
),
course AS (
    SELECT
        tenant,
        ticket,
        min_by(channel, n) FILTER (WHERE channel IS NOT NULL) AS channel,
        max_by(priority, n) FILTER (WHERE priority IS NOT NULL) AS priority,
        min_by(group_name, n) FILTER (WHERE group_name IS NOT NULL) AS first_group,
        max_by(group_name, n) FILTER (WHERE group_name IS NOT NULL) AS last_group,
        min_by(agent, n) FILTER (WHERE agent IS NOT NULL) AS first_agent,
        max_by(agent, n) FILTER (WHERE agent IS NOT NULL) AS last_agent,
        max_by(status, n) AS status,
        count(*) FILTER (WHERE group_name IS DISTINCT FROM was_group) AS group_stations,
        min(at_us) FILTER (WHERE agent IS NOT NULL) AS assigned_us,
        min(at_us) FILTER (WHERE status IN ('solved', 'closed')) AS first_solved_us,
        max(at_us) FILTER (WHERE status IN ('solved', 'closed')
            AND coalesce(was_status, 'new') NOT IN ('solved', 'closed')) AS last_solved_us,
        max(at_us) FILTER (WHERE status = 'closed' AND was_status IS DISTINCT FROM 'closed') AS last_closed_us,
        min(at_us) FILTER (WHERE status NOT IN ('solved', 'closed') AND was_status IN ('solved', 'closed'))
            AS first_reopened_us,
        count(*) FILTER (WHERE status NOT IN ('solved', 'closed') AND was_status IN ('solved', 'closed')) AS reopens
    FROM ticket_state
    GROUP BY tenant, ticket
)
SELECT
    course.tenant, course.ticket, channel, priority, first_group, last_group, first_agent, last_agent, status,
    coalesce(agent_stations, 0) AS agent_stations,
    group_stations, assigned_us, first_solved_us, last_solved_us, last_closed_us, first_reopened_us, reopens
FROM course
LEFT JOIN counted ON counted.ticket = course.ticket
