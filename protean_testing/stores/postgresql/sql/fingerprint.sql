-- What every object of objects.sql looks like, with all that belongs to it: columns, constraints, indexes,
-- triggers, policies, rules, labels. What a TRUNCATE, a VACUUM or an ANALYZE changes is left out.
WITH object (classid, objid) AS MATERIALIZED (
    :objects
), part (classid, objid, line) AS (
    SELECT 'pg_class'::regclass::int8, c.oid::int8,
           concat_ws(' ', 'c', relname, relnamespace, relowner, relam, reltablespace, relpersistence, relkind,
                     relrowsecurity, relforcerowsecurity, relreplident, relispartition, relacl, reloptions,
                     pg_get_expr(relpartbound, c.oid))
      FROM pg_class c WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.oid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, attrelid,
           concat_ws(' ', 'a', attnum, attname, atttypid, atttypmod, attnotnull, atthasdef, attidentity,
                     attgenerated, attisdropped, attcollation, attstorage, attcompression, attacl, attoptions)
      FROM pg_attribute WHERE attnum > 0 AND attrelid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, adrelid, concat('d', c) FROM pg_attrdef c
    UNION ALL
    SELECT 'pg_class'::regclass, conrelid, concat('k', c) FROM pg_constraint c WHERE conrelid >= 16384
    UNION ALL
    SELECT 'pg_type'::regclass, contypid, concat('k', c) FROM pg_constraint c WHERE contypid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, indrelid,
           concat('i', i, relname, relam, reltablespace, reloptions)
      FROM pg_index i JOIN pg_class r ON r.oid = i.indexrelid WHERE indrelid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, tgrelid, concat('t', c) FROM pg_trigger c
     WHERE (:internal OR NOT tgisinternal)
       AND tgfoid NOT IN (SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                           WHERE n.nspname = 'protean_testing')
    UNION ALL
    SELECT 'pg_class'::regclass, ev_class, concat('r', c) FROM pg_rewrite c WHERE ev_class >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, polrelid, concat('p', c) FROM pg_policy c
    UNION ALL
    SELECT 'pg_class'::regclass, inhrelid, concat('h', c) FROM pg_inherits c
    UNION ALL
    SELECT 'pg_class'::regclass, seqrelid, concat('s', c) FROM pg_sequence c
    UNION ALL
    SELECT 'pg_class'::regclass, prrelid, concat('b', c) FROM pg_publication_rel c WHERE :internal
    UNION ALL
    SELECT 'pg_type'::regclass, oid, concat('y', c) FROM pg_type c WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_type'::regclass, enumtypid, concat('e', c) FROM pg_enum c
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, concat('f', c) FROM pg_proc c WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, concat('n', c) FROM pg_namespace c
    UNION ALL
    SELECT 'pg_extension'::regclass, oid, concat('x', c) FROM pg_extension c WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_event_trigger'::regclass, oid, concat('v', c) FROM pg_event_trigger c
    UNION ALL
    SELECT classoid, objoid, concat_ws(' ', 'o', objsubid, description) FROM pg_description WHERE objoid >= 16384
)
SELECT o.classid, o.objid, md5(COALESCE(string_agg(p.line, ' ' ORDER BY p.line), ''))
  FROM object o LEFT JOIN part p USING (classid, objid)
 GROUP BY 1, 2
