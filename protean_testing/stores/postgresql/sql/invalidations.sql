-- See invalidations.py. The first column is a constant that is made when this is planned; the relations are
-- mentioned for that alone. Then what belongs to no relation: how many lines, and the latest transaction that wrote
-- one. Where only new objects matter, the greatest oid tells of them.
SELECT concat_ws(' ', protean_testing.planned(),
       (SELECT max(oid) FROM pg_class), (SELECT max(oid) FROM pg_type), (SELECT max(oid) FROM pg_proc),
       (SELECT (count(*), max(oid), min(age(xmin)) - age('3'::xid)) FROM pg_type WHERE oid = ANY (:types)),
       (SELECT (count(*), max(oid), min(age(xmin)) - age('3'::xid)) FROM pg_proc WHERE oid = ANY (:functions)),
       :counts)
 WHERE '0'::oid NOT IN (:relations)
