-- Tables, partitioned tables and materialized views of the user's schemas.
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
       -- rows are hidden from our role
       c.relrowsecurity AND c.relforcerowsecurity
           AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
       -- our role may write to it
       c.relkind = 'm' OR has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'DELETE'),
       -- columns that an INSERT may name
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum),
       -- all columns with their types
       COALESCE((SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                   ORDER BY a.attnum)
                   FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), ''),
       -- the columns of a unique index, best of all the primary key, whose text tells equal values exactly
       COALESCE((SELECT ARRAY(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod)]
                                FROM pg_attribute a
                               WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]) ORDER BY a.attnum)
                   FROM pg_index i
                  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                    AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnatts = i.indnkeyatts
                    AND NOT EXISTS (SELECT FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation
                                     WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
                                       AND (NOT a.attnotnull OR a.attgenerated <> '' OR NOT l.collisdeterministic
                                            OR a.atttypid NOT IN ('int2'::regtype, 'int4'::regtype,
                                               'int8'::regtype, 'oid'::regtype, 'uuid'::regtype, 'bool'::regtype,
                                               'text'::regtype, 'varchar'::regtype, 'date'::regtype,
                                               'timestamp'::regtype, 'timestamptz'::regtype)))
                  ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1), '{}'),
       -- columns that an UPDATE may not name
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = 'a'),
       -- our role may put a trigger on it
       c.relkind = 'r' AND has_table_privilege(c.oid, 'TRIGGER') OR c.relkind = 'p',
       -- partitions and other inheritance children
       ARRAY(SELECT h.inhrelid::int8 FROM pg_inherits h WHERE h.inhparent = c.oid),
       -- tables that its foreign keys point to
       ARRAY(SELECT DISTINCT f.confrelid::int8 FROM pg_constraint f
              WHERE f.conrelid = c.oid AND f.contype = 'f')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm')
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'protean_testing', 'protean_testing_rescued',
                                                     'protean_testing_messages')
 ORDER BY n.nspname, c.relname
