-- From PostgreSQL 18 on: sequences that do not stand where they stood at the innermost snapshot.
SELECT p.sequence::int8, d.last_value, d.is_called
  FROM protean_testing.position p, pg_get_sequence_data(p.sequence) d
 WHERE p.number IS NULL AND (d.last_value, d.is_called) IS DISTINCT FROM (p.last_value, p.is_called)
