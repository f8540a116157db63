-- See invalidations.py. The first column is a constant that is made when this is planned; the relations are
-- mentioned for that alone. Then what belongs to no relation: how many lines, and the latest transaction that wrote
-- one. Where only new objects matter, the greatest oid tells of them.
SELECT concat_ws(' ', protean_testing.planned(),
       (SELECT max(oid) FROM pg_class), (SELECT max(oid) FROM pg_type), (SELECT max(oid) FROM pg_proc),
       (SELECT (count(*), max(oid), min(age(xmin)) - age('3'::xid)) FROM pg_type WHERE oid = ANY (:types)),
       (SELECT (count(*), max(oid), min(age(xmin)) - age('3'::xid)) FROM pg_proc WHERE oid = ANY (:functions)),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_enum WHERE oid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_constraint WHERE contypid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_inherits),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_namespace),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_extension),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_description WHERE objoid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_operator WHERE oid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_cast WHERE oid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_publication_rel),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_statistic_ext),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_event_trigger),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_collation WHERE oid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_opclass WHERE oid >= 16384),
       (SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_ts_config WHERE oid >= 16384))
 WHERE '0'::oid NOT IN (:relations)
