outcome (disposition, place, outcome) AS (
  VALUES
    ('completed', 1, 'complete'),
    ('partial', 2, 'partial'),
    ('refused', 3, 'refusal'), ('hung_up', 3, 'refusal'),
    ('dialogue_error', 4, 'other'), ('rtp_lost', 4, 'other'),
    ('no_input', 5, 'non_contact'),
    ('busy', 6, 'unknown'), ('no_answer', 6, 'unknown'), ('unreachable', 6, 'unknown'), ('rejected', 6, 'unknown'),
    ('blocked', 6, 'unknown'), ('out_of_order', 6, 'unknown'), ('congestion', 6, 'unknown'),
    ('trunk_refused', 6, 'unknown'), ('media_error', 6, 'unknown'), ('cancelled', 6, 'unknown'),
    ('unknown', 6, 'unknown'), ('not_placed', 6, 'unknown'), ('returned', 6, 'unknown'),
    ('invalid_number', 7, 'not_eligible'), ('number_changed', 7, 'not_eligible')
)
