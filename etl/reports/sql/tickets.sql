-- The tickets that were created in the period.
SELECT t.*, t.first_group AS group_name, t.ticket AS subject, t.created_us AS at_us,
       t.first_resolution_us IS NOT NULL AS is_solved, b.hours_of,
       b.first_assignment_us AS business_first_assignment_us, b.queue_us AS business_queue_us,
       b.first_response_us AS business_first_response_us, b.requester_wait_us AS business_requester_wait_us,
       b.agent_wait_us AS business_agent_wait_us, b.hold_us AS business_hold_us, b.owned_us AS business_owned_us,
       b.handle_us AS business_handle_us, b.first_resolution_us AS business_first_resolution_us,
       b.full_resolution_us AS business_full_resolution_us
FROM ticket_fact AS t
LEFT JOIN ticket_business_fact AS b ON b.tenant = t.tenant AND b.ticket = t.ticket
WHERE t.tenant = :tenant AND t.created_us >= :from_us AND t.created_us < :to_us
