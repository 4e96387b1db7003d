-- The tickets that were created in the period; and for the midnight that ends each day, those that were open then.
SELECT t.channel, t.first_group AS group_name, t.ticket AS subject, t.created_us AS at_us, TRUE AS is_created,
       t.created_inferred, t.first_resolution_us IS NOT NULL AS is_solved, t.reopens, t.one_touch,
       t.one_touch_final_us > :as_of_us AS is_provisional, t.first_assignment_us, t.queue_us, t.first_response_us,
       t.requester_wait_us, t.agent_wait_us, t.hold_us, t.owned_us, t.handle_us, t.first_resolution_us,
       t.full_resolution_us, t.transfers_agent, t.transfers_group, t.messages_agent, t.messages_customer,
       t.late, CAST(NULL AS BIGINT) AS age_us,
       b.first_assignment_us AS business_first_assignment_us, b.queue_us AS business_queue_us,
       b.first_response_us AS business_first_response_us, b.requester_wait_us AS business_requester_wait_us,
       b.agent_wait_us AS business_agent_wait_us, b.hold_us AS business_hold_us, b.owned_us AS business_owned_us,
       b.handle_us AS business_handle_us, b.first_resolution_us AS business_first_resolution_us,
       b.full_resolution_us AS business_full_resolution_us
FROM ticket_fact AS t
LEFT JOIN ticket_business_fact AS b ON b.tenant = t.tenant AND b.ticket = t.ticket
WHERE t.tenant = :tenant AND t.created_us >= :from_us AND t.created_us < :to_us
UNION ALL
SELECT t.channel, t.first_group, t.ticket, s.start_us, FALSE, FALSE, FALSE, NULL, FALSE, FALSE, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, FALSE, s.end_us - t.created_us,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM slot AS s
JOIN ticket_span_fact AS p ON p.begin_us <= s.end_us AND (p.end_us > s.end_us OR p.end_us IS NULL)
JOIN ticket_fact AS t ON t.tenant = p.tenant AND t.ticket = p.ticket AND t.created_us <= s.end_us
WHERE p.tenant = :tenant AND p.status NOT IN ('solved', 'closed') AND s.end_us <= :as_of_us
