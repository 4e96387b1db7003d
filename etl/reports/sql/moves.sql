-- The transfers of the period, between two agents or two groups.
SELECT m.what, m.from_name, m.to_name, m.ticket AS subject, m.at_us
FROM ticket_move_fact AS m
WHERE m.tenant = :tenant AND m.at_us >= :from_us AND m.at_us < :to_us
