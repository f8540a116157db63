-- How many lines the catalogs have for objects of users, and the number of the latest transaction that wrote one.
-- Where neither has changed, neither has the schema. What VACUUM and ANALYZE write is written in place, and does
-- not count.
SELECT array_agg(lines ORDER BY number), (min(age) - age('3'::xid))::int8
  FROM (SELECT 1, count(*), min(age(xmin)) FROM pg_class WHERE oid >= 16384
        UNION ALL SELECT 2, count(*), min(age(xmin)) FROM pg_attribute WHERE attrelid >= 16384
        UNION ALL SELECT 3, count(*), min(age(xmin)) FROM pg_constraint WHERE oid >= 16384
        UNION ALL SELECT 4, count(*), min(age(xmin)) FROM pg_trigger WHERE oid >= 16384
        UNION ALL SELECT 5, count(*), min(age(xmin)) FROM pg_index WHERE indexrelid >= 16384
        UNION ALL SELECT 6, count(*), min(age(xmin)) FROM pg_attrdef WHERE oid >= 16384
        UNION ALL SELECT 7, count(*), min(age(xmin)) FROM pg_type WHERE oid >= 16384
        UNION ALL SELECT 8, count(*), min(age(xmin)) FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT 9, count(*), min(age(xmin)) FROM pg_rewrite WHERE oid >= 16384
        UNION ALL SELECT 10, count(*), min(age(xmin)) FROM pg_enum WHERE oid >= 16384
        UNION ALL SELECT 11, count(*), min(age(xmin)) FROM pg_sequence
        UNION ALL SELECT 12, count(*), min(age(xmin)) FROM pg_policy
        UNION ALL SELECT 13, count(*), min(age(xmin)) FROM pg_inherits
        UNION ALL SELECT 14, count(*), min(age(xmin)) FROM pg_namespace
        UNION ALL SELECT 15, count(*), min(age(xmin)) FROM pg_extension
        UNION ALL SELECT 16, count(*), min(age(xmin)) FROM pg_description WHERE objoid >= 16384
        UNION ALL SELECT 17, count(*), min(age(xmin)) FROM pg_operator WHERE oid >= 16384
        UNION ALL SELECT 18, count(*), min(age(xmin)) FROM pg_cast WHERE oid >= 16384
        UNION ALL SELECT 19, count(*), min(age(xmin)) FROM pg_publication_rel
        UNION ALL SELECT 20, count(*), min(age(xmin)) FROM pg_statistic_ext
        UNION ALL SELECT 21, count(*), min(age(xmin)) FROM pg_event_trigger
        UNION ALL SELECT 22, count(*), min(age(xmin)) FROM pg_collation WHERE oid >= 16384
        UNION ALL SELECT 23, count(*), min(age(xmin)) FROM pg_opclass WHERE oid >= 16384
        UNION ALL SELECT 24, count(*), min(age(xmin)) FROM pg_ts_config WHERE oid >= 16384) part (number, lines, age)
