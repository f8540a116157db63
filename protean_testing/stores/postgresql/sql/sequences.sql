-- Sequences of the user's schemas, with the tables that own one or take a default from it.
SELECT c.oid::int8, n.nspname::text, c.relname::text,
       ARRAY(SELECT d.refobjid::int8 FROM pg_depend d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                AND d.refclassid = 'pg_class'::regclass
             UNION
             SELECT a.adrelid::int8 FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
              WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = c.oid),
       s.seqcache > 1, c.relpersistence = 'u'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'protean_testing', 'protean_testing_rescued',
                                                     'protean_testing_messages')
 ORDER BY n.nspname, c.relname
