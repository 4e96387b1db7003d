-- Events that came more than once: whoever sends one again may date it anew.
SELECT event_id, count(*) AS copies
FROM together
GROUP BY event_id
HAVING count(*) > 1
