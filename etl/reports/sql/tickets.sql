-- The tickets that were created in the period.
SELECT t.*, t.first_group AS group_name, t.ticket AS subject, t.created_us AS at_us,
       t.first_resolution_us IS NOT NULL AS is_solved
FROM ticket_fact AS t
WHERE t.tenant = :tenant AND t.created_us >= :from_us AND t.created_us < :to_us
