-- What was sent in the period and is no event, as PostgreSQL keeps it now.
SELECT d.* FROM dead AS d WHERE d.first_us >= :from_us AND d.first_us < :to_us
