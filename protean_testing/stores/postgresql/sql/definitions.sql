-- What every object of the user's schemas is, as text: the same for one that is made again.
WITH mine AS (
    SELECT oid, nspname FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'protean_testing', 'protean_testing_rescued',
                                                     'protean_testing_messages')
)
SELECT concat('table ', r.oid::regclass),
       concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
                 pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
  FROM pg_class r JOIN mine n ON n.oid = r.relnamespace
  JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
 WHERE r.relkind IN ('r', 'p', 'f', 'm', 'v')
UNION ALL
SELECT concat('table ', c.conrelid::regclass), concat_ws(' ', c.conname, pg_get_constraintdef(c.oid))
  FROM pg_constraint c JOIN mine n ON n.oid = c.connamespace WHERE c.conrelid <> 0
UNION ALL
SELECT concat('table ', i.indrelid::regclass), pg_get_indexdef(i.indexrelid)
  FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid JOIN mine n ON n.oid = r.relnamespace
UNION ALL
SELECT concat('table ', t.tgrelid::regclass), concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace f ON f.oid = p.pronamespace
 WHERE NOT t.tgisinternal AND f.nspname <> 'protean_testing'
UNION ALL
SELECT concat('view ', r.oid::regclass), pg_get_viewdef(r.oid)
  FROM pg_class r JOIN mine n ON n.oid = r.relnamespace WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT concat('table ', r.oid::regclass),
       concat_ws(' ', r.relacl, r.reloptions, r.relrowsecurity, r.relforcerowsecurity, obj_description(r.oid))
  FROM pg_class r JOIN mine n ON n.oid = r.relnamespace WHERE r.relkind IN ('r', 'p', 'f', 'm', 'v')
UNION ALL
SELECT concat('function ', p.oid::regprocedure), p.prosrc
  FROM pg_proc p JOIN mine n ON n.oid = p.pronamespace
UNION ALL
SELECT concat('type ', t.oid::regtype), concat_ws(' ', t.typtype, string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder))
  FROM pg_type t JOIN mine n ON n.oid = t.typnamespace LEFT JOIN pg_enum e ON e.enumtypid = t.oid
 WHERE t.typtype IN ('d', 'e', 'r') GROUP BY t.oid, t.typtype
UNION ALL
SELECT concat('schema ', nspname), '' FROM mine
UNION ALL
SELECT concat('extension ', extname), extversion FROM pg_extension
UNION ALL
SELECT concat('event trigger ', evtname), evtevent FROM pg_event_trigger
 WHERE evtfoid NOT IN (SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                        WHERE n.nspname = 'protean_testing')
