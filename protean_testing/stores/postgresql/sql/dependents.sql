-- What would be dropped or changed, as a whole, with what is dropped. Parts of an object stand for it: a foreign key
-- for the table that has it, a rule for its view.
WITH RECURSIVE doomed (classid, objid) AS (
    VALUES :doomed
), depends (classid, objid, refclassid, refobjid) AS (
    SELECT classid, objid, refclassid, refobjid FROM pg_depend
    UNION ALL
    SELECT 'pg_class'::regclass, conrelid, 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid <> 0
    UNION ALL
    SELECT 'pg_type'::regclass, contypid, 'pg_constraint'::regclass, oid FROM pg_constraint WHERE contypid <> 0
    UNION ALL
    SELECT 'pg_class'::regclass, ev_class, 'pg_rewrite'::regclass, oid FROM pg_rewrite
    UNION ALL
    SELECT 'pg_class'::regclass, adrelid, 'pg_attrdef'::regclass, oid FROM pg_attrdef
    UNION ALL
    SELECT 'pg_class'::regclass, polrelid, 'pg_policy'::regclass, oid FROM pg_policy
    UNION ALL
    SELECT 'pg_class'::regclass, indrelid, 'pg_class'::regclass, indexrelid FROM pg_index
    UNION ALL
    SELECT 'pg_class'::regclass, tgrelid, 'pg_trigger'::regclass, oid FROM pg_trigger WHERE NOT tgisinternal
), gone (classid, objid) AS (
    SELECT classid, objid FROM doomed
    UNION
    SELECT d.classid, d.objid FROM depends d JOIN gone g ON d.refclassid = g.classid AND d.refobjid = g.objid
     WHERE NOT (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT oid FROM pg_class
                 WHERE relnamespace = to_regnamespace('protean_testing')))
), object AS (
    :objects
)
SELECT classid::int8, objid::int8 FROM gone JOIN object o USING (classid, objid)
EXCEPT
SELECT classid::int8, objid::int8 FROM doomed
