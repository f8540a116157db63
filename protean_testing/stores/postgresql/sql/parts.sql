-- What each of the chosen objects is made of, as text without any oid, so that what was dropped and made again is
-- the same. Of each part: the statement that makes it (make: after what is there is undone; set: whatever is there) or
-- a text to compare alone, and the statement that undoes it. What goes with another object is undone by nothing.
WITH chosen (classid, objid) AS MATERIALIZED (
    SELECT * FROM unnest($1::oid[], $2::oid[])
), relation AS MATERIALIZED (
    SELECT c.*, c.oid AS objid, format('%I.%I', nspname, relname) AS name
      FROM chosen o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
      JOIN pg_namespace n ON n.oid = relnamespace
), routine AS MATERIALIZED (
    SELECT p.*, p.oid AS objid, p.oid::regprocedure::text AS name
      FROM chosen o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
), kind AS MATERIALIZED (
    SELECT t.*, t.oid AS objid, format('%I.%I', nspname, typname) AS name,
           CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS what
      FROM chosen o JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid
      JOIN pg_namespace n ON n.oid = typnamespace
), space AS MATERIALIZED (
    SELECT n.*, n.oid AS objid, format('%I', nspname) AS name
      FROM chosen o JOIN pg_namespace n ON o.classid = 'pg_namespace'::regclass AND n.oid = o.objid
), attribute AS MATERIALIZED (  -- a composite type's stands for the type, which is its relation's row type
    SELECT a.*, format('%I', attname) AS attribute, r.objid, r.name, r.relkind, 'pg_class'::regclass AS classid
      FROM relation r JOIN pg_attribute a ON attrelid = r.objid AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT a.*, format('%I', attname), k.objid, k.name, 'c', 'pg_type'::regclass
      FROM kind k JOIN pg_attribute a ON attrelid = typrelid AND attnum > 0 AND NOT attisdropped AND typtype = 'c'
), idx AS MATERIALIZED (
    SELECT i.*, r.objid, r.name, x.relname, x.relispartition, x.oid, format('%I.%I', nspname, x.relname) AS index,
           EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.oid
                      AND deptype IN ('i', 'P', 'S')) AS goes
      FROM relation r JOIN pg_index i ON indrelid = r.objid JOIN pg_class x ON x.oid = indexrelid
      JOIN pg_namespace n ON n.oid = x.relnamespace
), identity AS MATERIALIZED (  -- with its sequence: that of a partition is the one of the whole, and changes with it
    SELECT a.objid, a.name, a.attribute, a.attidentity, s.seqrelid, c.relowner, c.relacl, c.relpersistence,
           format('%I.%I', nspname, c.relname) AS sequence,
           format('INCREMENT %s SET MINVALUE %s SET MAXVALUE %s SET START %s SET CACHE %s SET %s', seqincrement, seqmin, seqmax,
                  seqstart, seqcache, CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options
      FROM attribute a JOIN (
           pg_sequence s JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace) ON seqrelid = (
           SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
              AND refobjid = attrelid AND refobjsubid = attnum AND deptype = 'i' LIMIT 1)
     WHERE attidentity <> ''
), owned (partclass, part, classid, objid) AS (  -- what comments on parts are found by
    SELECT classid, objid, classid, objid FROM chosen
    UNION ALL SELECT 'pg_class'::regclass, seqrelid, 'pg_class'::regclass, objid FROM identity
    UNION ALL SELECT 'pg_class'::regclass, oid, 'pg_class'::regclass, objid FROM idx
    UNION ALL SELECT 'pg_constraint'::regclass, c.oid, 'pg_class'::regclass, objid
                FROM relation JOIN pg_constraint c ON conrelid = objid
    UNION ALL SELECT 'pg_constraint'::regclass, c.oid, 'pg_type'::regclass, objid
                FROM kind JOIN pg_constraint c ON contypid = objid
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid, 'pg_class'::regclass, objid FROM relation JOIN pg_trigger t ON tgrelid = objid
    UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, 'pg_class'::regclass, objid FROM relation JOIN pg_rewrite w ON ev_class = objid
    UNION ALL SELECT 'pg_policy'::regclass, p.oid, 'pg_class'::regclass, objid FROM relation JOIN pg_policy p ON polrelid = objid
    UNION ALL SELECT 'pg_class'::regclass, typrelid, 'pg_type'::regclass, objid FROM kind WHERE typtype = 'c'
), every_acl (classid, objid, part, owner, acl, usual, columns, on_what) AS (
    SELECT 'pg_class'::regclass, objid, 'privileges', relowner, relacl, acldefault(k, relowner), '',
           format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, name)
      FROM relation, LATERAL (SELECT CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS k) one WHERE relacl IS NOT NULL
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'privileges of ' || attribute, relowner, relacl, acldefault('s', relowner), '', 'SEQUENCE ' || sequence
      FROM identity WHERE relacl IS NOT NULL
    UNION ALL
    SELECT classid, objid, 'privileges ' || attribute, relowner, attacl, NULL, format(' (%s)', attribute), 'TABLE ' || a.name
      FROM attribute a JOIN (SELECT objid, relowner FROM relation) r USING (objid) WHERE attacl IS NOT NULL
    UNION ALL
    SELECT 'pg_proc'::regclass, objid, 'privileges', proowner, proacl, acldefault('f', proowner), '', 'ROUTINE ' || name
      FROM routine WHERE proacl IS NOT NULL
    UNION ALL
    SELECT 'pg_type'::regclass, objid, 'privileges', typowner, typacl, acldefault('T', typowner), '', what || ' ' || name
      FROM kind WHERE typacl IS NOT NULL
    UNION ALL
    SELECT 'pg_namespace'::regclass, objid, 'privileges', nspowner, nspacl, acldefault('n', nspowner), '', 'SCHEMA ' || name
      FROM space WHERE nspacl IS NOT NULL
), acl AS MATERIALIZED (
    SELECT * FROM every_acl WHERE (acl @> usual AND usual @> acl) IS NOT TRUE
), given (classid, objid, part, which, line, revoke) AS (
    SELECT classid, objid, part, which,
           format('GRANT %s ON %s TO %s%s%s', string_agg(privilege_type || columns, ', ' ORDER BY privilege_type), on_what, whom,
                  CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END,
                  CASE WHEN grantor <> owner THEN format(' /* by %s */', pg_get_userbyid(grantor)) END),
           format('REVOKE ALL%s ON %s FROM %s CASCADE', columns, on_what, whom)
      FROM (SELECT *, 1 AS which, acl AS list FROM acl UNION ALL SELECT *, 2, usual FROM acl) a, aclexplode(list),
           LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(grantee)) END AS whom) w
     GROUP BY classid, objid, part, which, on_what, whom, is_grantable, grantor, owner, columns
), privileges (classid, objid, part, line, undo) AS (
    SELECT classid, objid, part,
           concat(string_agg(DISTINCT revoke || '; ', '') FILTER (WHERE which = 2),
                  string_agg(line, '; ' ORDER BY line) FILTER (WHERE which = 1)),
           concat(string_agg(DISTINCT revoke || '; ', '') FILTER (WHERE which = 1),
                  string_agg(line, '; ' ORDER BY line) FILTER (WHERE which = 2))
      FROM given GROUP BY 1, 2, 3
)
SELECT classid::int8, objid::int8, part, how, line, undo FROM (
    -- Relations
    SELECT 'pg_class'::regclass AS classid, objid, 'relation' AS part, NULL AS how,
           concat_ws(' ', relkind, amname, spcname, relispartition, CASE WHEN relkind = 'm' THEN pg_get_viewdef(objid) END,
                     CASE WHEN relkind = 'p' THEN pg_get_partkeydef(objid) END) AS line, NULL AS undo
      FROM relation LEFT JOIN pg_am am ON am.oid = relam LEFT JOIN pg_tablespace s ON s.oid = reltablespace
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'persistence', CASE WHEN relkind = 'r' THEN 'set' END,
           format('ALTER TABLE %s SET %s', name, CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END), NULL
      FROM relation WHERE relkind IN ('r', 'S')
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'owner', 'set', format('ALTER TABLE %s OWNER TO %I', name, pg_get_userbyid(relowner)), NULL
      FROM relation r WHERE relkind <> 'S' OR NOT EXISTS (
           SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.objid AND deptype IN ('a', 'i')
              AND refclassid = 'pg_class'::regclass)
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'attached', 'make',
           format('ALTER TABLE %s ATTACH PARTITION %s %s', parent, name, pg_get_expr(relpartbound, objid)),
           format('ALTER TABLE %s DETACH PARTITION %s', parent, name)
      FROM relation JOIN pg_inherits ON inhrelid = objid,
           LATERAL (SELECT format('%I.%I', nspname, relname) AS parent FROM pg_class p JOIN pg_namespace n ON n.oid = relnamespace
                     WHERE p.oid = inhparent) p WHERE relispartition
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'inherits ' || parent, 'make', format('ALTER TABLE %s INHERIT %s', name, parent),
           format('ALTER TABLE %s NO INHERIT %s', name, parent)
      FROM relation JOIN pg_inherits ON inhrelid = objid,
           LATERAL (SELECT format('%I.%I', nspname, relname) AS parent FROM pg_class p JOIN pg_namespace n ON n.oid = relnamespace
                     WHERE p.oid = inhparent) p WHERE NOT relispartition
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'security', 'set',
           format('ALTER TABLE %s %s ROW LEVEL SECURITY, %s ROW LEVEL SECURITY', name,
                  CASE WHEN relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END, CASE WHEN relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END), NULL
      FROM relation WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'option ' || option_name, 'set', format('ALTER TABLE %s SET (%s = %L)', name, option_name, option_value),
           format('ALTER TABLE %s RESET (%s)', name, option_name)
      FROM (SELECT objid, name, '' AS toast, reloptions FROM relation UNION ALL
            SELECT objid, name, 'toast.', t.reloptions FROM relation r JOIN pg_class t ON t.oid = r.reltoastrelid) r,
           pg_options_to_table(reloptions) o (option, option_value), LATERAL (SELECT toast || option AS option_name) n
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'of', 'make', format('ALTER TABLE %s OF %s', name, reloftype::regtype),
           format('ALTER TABLE %s NOT OF', name)
      FROM relation WHERE reloftype <> 0
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'replica identity', 'set', format('ALTER TABLE %s REPLICA IDENTITY %s', name, CASE relreplident
                  WHEN 'd' THEN 'DEFAULT' WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL'
                  ELSE 'USING INDEX ' || (SELECT quote_ident(relname) FROM idx i WHERE i.objid = r.objid AND indisreplident) END), NULL
      FROM relation r WHERE relkind IN ('r', 'p', 'm')
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'cluster', 'set', format('ALTER TABLE %s CLUSTER ON %I', name, relname),
           format('ALTER TABLE %s SET WITHOUT CLUSTER', name)
      FROM idx WHERE indisclustered
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'view', 'set',
           format('CREATE OR REPLACE VIEW %s %s AS %s', name, 'WITH (' || array_to_string(reloptions, ', ') || ')', pg_get_viewdef(objid)), NULL
      FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'sequence', 'set',
           format('ALTER SEQUENCE %s AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s RESTART CACHE %s %s', name, seqtypid::regtype, seqincrement,
                  seqmin, seqmax, seqstart, seqcache, CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END), NULL
      FROM relation JOIN pg_sequence ON seqrelid = objid
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'owned by', 'set',
           format('ALTER SEQUENCE %s OWNED BY %s', name, coalesce((
                  SELECT format('%I.%I.%I', nspname, relname, attname)
                    FROM pg_depend d JOIN pg_attribute a ON attrelid = refobjid AND attnum = refobjsubid
                    JOIN pg_class c ON c.oid = refobjid JOIN pg_namespace n ON n.oid = relnamespace
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = r.objid AND refclassid = 'pg_class'::regclass AND deptype = 'a'),
                  'NONE')), NULL
      FROM relation r WHERE relkind = 'S'
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'published ' || pubname, 'make', format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s', pubname, name,
                  CASE WHEN to_jsonb(p)->>'prqual' IS NOT NULL OR to_jsonb(p)->>'prattrs' IS NOT NULL THEN p::text END),
           format('ALTER PUBLICATION %I DROP TABLE ONLY %s', pubname, name)
      FROM relation JOIN pg_publication_rel p ON prrelid = objid JOIN pg_publication b ON b.oid = prpubid
    -- Columns
    UNION ALL
    SELECT classid, objid, 'column ' || attribute, NULL,
           concat_ws(' ', format_type(atttypid, atttypmod), attcollation::regcollation, attgenerated, attislocal, attinhcount,
                     CASE WHEN attgenerated <> '' THEN (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum) END),
           CASE WHEN attinhcount = 0 AND relkind IN ('r', 'p', 'f') THEN format('ALTER TABLE %s DROP COLUMN %s', name, attribute)
                WHEN relkind = 'c' THEN format('ALTER TYPE %s DROP ATTRIBUTE %s', name, attribute) END
      FROM attribute
    UNION ALL
    SELECT classid, objid, 'columns', NULL, string_agg(attribute, ', ' ORDER BY attnum), NULL FROM attribute GROUP BY 1, 2
    UNION ALL
    SELECT classid, objid, 'filled ' || attribute, 'set', format('ALTER TABLE %s ALTER COLUMN %s SET NOT NULL', name, attribute),
           format('ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL', name, attribute)
      FROM attribute WHERE attnotnull AND relkind IN ('r', 'p', 'f')
    UNION ALL
    SELECT classid, objid, 'default ' || attribute, 'set',
           format('ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s', name, attribute, pg_get_expr(adbin, adrelid)),
           format('ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT', name, attribute)
      FROM attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attgenerated = ''
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'identity ' || attribute, 'make',
           format('ALTER TABLE %s ALTER COLUMN %s ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME %s)', name, attribute, sequence),
           format('ALTER TABLE %s ALTER COLUMN %s DROP IDENTITY', name, attribute)
      FROM identity
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'sequence of ' || attribute, 'set',
           format('ALTER TABLE %s ALTER COLUMN %s SET GENERATED %s SET %s', name, attribute,
                  CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, options), NULL
      FROM identity
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'persistence of ' || attribute, 'set',
           format('ALTER SEQUENCE %s SET %s', sequence, CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END), NULL
      FROM identity
    UNION ALL
    SELECT classid, objid, 'target ' || attribute, 'set', format('ALTER TABLE %s ALTER COLUMN %s SET STATISTICS %s', name, attribute, attstattarget),
           format('ALTER TABLE %s ALTER COLUMN %s SET STATISTICS -1', name, attribute)
      FROM attribute WHERE attstattarget >= 0
    UNION ALL
    SELECT classid, objid, 'storage ' || attribute, 'set', format('ALTER TABLE %s ALTER COLUMN %s SET STORAGE %s', name, attribute, storage),
           format('ALTER TABLE %s ALTER COLUMN %s SET STORAGE %s', name, attribute, usual)
      FROM attribute JOIN pg_type t ON t.oid = atttypid AND attstorage <> typstorage,
           LATERAL (SELECT CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END AS storage,
                           CASE typstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END AS usual) s
     WHERE relkind IN ('r', 'p', 'm', 'f')
    UNION ALL
    SELECT classid, objid, 'compression ' || attribute, 'set', format('ALTER TABLE %s ALTER COLUMN %s SET COMPRESSION %s', name, attribute,
                  CASE attcompression WHEN 'p' THEN 'pglz' ELSE 'lz4' END),
           format('ALTER TABLE %s ALTER COLUMN %s SET COMPRESSION default', name, attribute)
      FROM attribute WHERE attcompression <> ''
    UNION ALL
    SELECT classid, objid, 'option ' || o.option_name || ' of ' || attribute, 'set',
           format('ALTER TABLE %s ALTER COLUMN %s SET (%s = %L)', name, attribute, o.option_name, o.option_value),
           format('ALTER TABLE %s ALTER COLUMN %s RESET (%s)', name, attribute, o.option_name)
      FROM attribute, pg_options_to_table(attoptions) o
    -- Constraints and indexes
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'constraint ' || conname, CASE WHEN conislocal AND conparentid = 0 THEN 'make' END,
           format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', name, conname, pg_get_constraintdef(c.oid),
                  CASE WHEN NOT conislocal OR coninhcount > 0 THEN format(' /* %s %s */', conislocal, coninhcount) END),
           CASE WHEN conislocal AND conparentid = 0 THEN format('ALTER TABLE %s DROP CONSTRAINT %I', name, conname) END
      FROM relation JOIN pg_constraint c ON conrelid = objid WHERE contype <> 't'
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'index ' || relname, CASE WHEN NOT goes AND NOT relispartition AND indisvalid THEN 'make' END,
           replace(pg_get_indexdef(oid), ' ON ONLY ', ' ON ') || CASE WHEN indisvalid THEN '' ELSE ' /* not valid */' END,
           CASE WHEN NOT goes AND NOT relispartition THEN 'DROP INDEX ' || index END
      FROM idx
    -- Triggers, rules, policies
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'trigger ' || tgname, CASE WHEN tgparentid = 0 THEN 'make' END,
           format('%s; ALTER TABLE %s %s TRIGGER %I', pg_get_triggerdef(t.oid), name, CASE tgenabled WHEN 'O' THEN 'ENABLE'
                  WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, tgname),
           CASE WHEN tgparentid = 0 THEN format('DROP TRIGGER %I ON %s', tgname, name) END
      FROM relation JOIN pg_trigger t ON tgrelid = objid
     WHERE NOT tgisinternal
       AND (SELECT pronamespace FROM pg_proc WHERE oid = tgfoid) IS DISTINCT FROM to_regnamespace('protean_testing')
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'triggers of the server', NULL, string_agg(DISTINCT tgenabled::text, ''),
           format('ALTER TABLE %s ENABLE TRIGGER ALL', name)
      FROM relation JOIN pg_trigger t ON tgrelid = objid WHERE tgisinternal AND tgenabled <> 'O' GROUP BY objid, name
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'rule ' || rulename, 'make',
           format('%s ALTER TABLE %s %s RULE %I', pg_get_ruledef(w.oid), name, CASE ev_enabled WHEN 'O' THEN 'ENABLE'
                  WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, rulename),
           format('DROP RULE %I ON %s', rulename, name)
      FROM relation JOIN pg_rewrite w ON ev_class = objid WHERE ev_type <> '1'
    UNION ALL
    SELECT 'pg_class'::regclass, objid, 'policy ' || polname, 'make',
           format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, name, CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                  CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                  (SELECT string_agg(CASE one WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(one)) END, ', ') FROM unnest(polroles) one))
           || CASE WHEN polqual IS NULL THEN '' ELSE format(' USING (%s)', pg_get_expr(polqual, polrelid)) END
           || CASE WHEN polwithcheck IS NULL THEN '' ELSE format(' WITH CHECK (%s)', pg_get_expr(polwithcheck, polrelid)) END,
           format('DROP POLICY %I ON %s', polname, name)
      FROM relation JOIN pg_policy p ON polrelid = objid
    -- Functions, types, schemas
    UNION ALL
    SELECT 'pg_proc'::regclass, objid, 'routine', CASE WHEN prokind <> 'a' THEN 'set' END,
           CASE WHEN prokind <> 'a' THEN pg_get_functiondef(objid)
                ELSE concat(name, ' ', format_type(prorettype, NULL), ' ', (SELECT (to_jsonb(a) - 'aggfnoid')::text FROM pg_aggregate a WHERE aggfnoid = objid)) END, NULL
      FROM routine
    UNION ALL
    SELECT 'pg_proc'::regclass, objid, 'owner', 'set', format('ALTER ROUTINE %s OWNER TO %I', name, pg_get_userbyid(proowner)), NULL FROM routine
    UNION ALL
    SELECT 'pg_type'::regclass, objid, 'type', NULL,
           concat(name, ' ', typtype, CASE typtype
                  WHEN 'd' THEN format('%s %s %s', format_type(typbasetype, typtypmod), typcollation::regcollation, typndims)
                  WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = objid)
                  WHEN 'r' THEN (SELECT format('%s %s %s %s %s', format_type(rngsubtype, NULL), rngsubopc, rngcollation::regcollation,
                                               rngcanonical, rngsubdiff) FROM pg_range WHERE rngtypid = objid)
                  WHEN 'c' THEN ''
                  ELSE (to_jsonb(t) - '{oid,typarray,typowner,typacl,typnamespace}'::text[])::text END), NULL
      FROM kind k JOIN pg_type t USING (oid, typtype, typbasetype, typtypmod, typcollation, typndims)
    UNION ALL
    SELECT 'pg_type'::regclass, objid, 'owner', 'set', format('ALTER %s %s OWNER TO %I', what, name, pg_get_userbyid(typowner)), NULL FROM kind
    UNION ALL
    SELECT 'pg_type'::regclass, objid, 'default', 'set', format('ALTER DOMAIN %s SET DEFAULT %s', name, typdefault),
           format('ALTER DOMAIN %s DROP DEFAULT', name) FROM kind WHERE typtype = 'd' AND typdefault IS NOT NULL
    UNION ALL
    SELECT 'pg_type'::regclass, objid, 'filled', 'set', format('ALTER DOMAIN %s SET NOT NULL', name),
           format('ALTER DOMAIN %s DROP NOT NULL', name) FROM kind WHERE typtype = 'd' AND typnotnull
    UNION ALL
    SELECT 'pg_type'::regclass, objid, 'constraint ' || conname, 'make',
           format('ALTER DOMAIN %s ADD CONSTRAINT %I %s', name, conname, pg_get_constraintdef(c.oid)),
           format('ALTER DOMAIN %s DROP CONSTRAINT %I', name, conname)
      FROM kind JOIN pg_constraint c ON contypid = objid WHERE contype <> 'n'
    UNION ALL
    SELECT 'pg_namespace'::regclass, objid, 'schema', 'set', format('CREATE SCHEMA IF NOT EXISTS %s', name), NULL FROM space
    UNION ALL
    SELECT 'pg_namespace'::regclass, objid, 'owner', 'set', format('ALTER SCHEMA %s OWNER TO %I', name, pg_get_userbyid(nspowner)), NULL FROM space
    -- All others
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid, 'statistics', NULL, pg_get_statisticsobjdef(s.oid) || ' ' || pg_get_userbyid(stxowner), NULL
      FROM chosen o JOIN pg_statistic_ext s ON o.classid = 'pg_statistic_ext'::regclass AND s.oid = o.objid
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid, 'target', 'set', format('ALTER STATISTICS %I.%I SET STATISTICS %s', nspname, stxname, coalesce(stxstattarget, -1)), NULL
      FROM chosen o JOIN pg_statistic_ext s ON o.classid = 'pg_statistic_ext'::regclass AND s.oid = o.objid
      JOIN pg_namespace n ON n.oid = stxnamespace
    UNION ALL
    SELECT 'pg_event_trigger'::regclass, e.oid, 'enabled', 'set', format('ALTER EVENT TRIGGER %I %s', evtname, CASE evtenabled WHEN 'O' THEN 'ENABLE'
                  WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END), NULL
      FROM chosen o JOIN pg_event_trigger e ON o.classid = 'pg_event_trigger'::regclass AND e.oid = o.objid
    UNION ALL
    SELECT o.classid, o.objid, 'row', NULL, line, NULL FROM chosen o, LATERAL (
        SELECT (to_jsonb(c) - 'oid')::text FROM pg_operator c WHERE o.classid = 'pg_operator'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_opclass c WHERE o.classid = 'pg_opclass'::regclass AND c.oid = o.objid
        UNION ALL SELECT concat(to_jsonb(c) - 'oid', ' ',
                         (SELECT string_agg((to_jsonb(m) - 'oid' - 'amopfamily')::text, ' ' ORDER BY amoplefttype, amoprighttype, amopstrategy, amopopr) FROM pg_amop m WHERE amopfamily = c.oid),
                         (SELECT string_agg((to_jsonb(m) - 'oid' - 'amprocfamily')::text, ' ' ORDER BY amproclefttype, amprocrighttype, amprocnum) FROM pg_amproc m WHERE amprocfamily = c.oid))
                    FROM pg_opfamily c WHERE o.classid = 'pg_opfamily'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_collation c WHERE o.classid = 'pg_collation'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_conversion c WHERE o.classid = 'pg_conversion'::regclass AND c.oid = o.objid
        UNION ALL SELECT concat(to_jsonb(c) - 'oid', ' ', (SELECT string_agg((to_jsonb(m) - 'mapcfg')::text, ' ' ORDER BY maptokentype, mapseqno)
                                                             FROM pg_ts_config_map m WHERE mapcfg = c.oid))
                    FROM pg_ts_config c WHERE o.classid = 'pg_ts_config'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_ts_dict c WHERE o.classid = 'pg_ts_dict'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_ts_parser c WHERE o.classid = 'pg_ts_parser'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_ts_template c WHERE o.classid = 'pg_ts_template'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid' - 'extconfig')::text FROM pg_extension c WHERE o.classid = 'pg_extension'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_cast c WHERE o.classid = 'pg_cast'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_transform c WHERE o.classid = 'pg_transform'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid' - 'evtenabled')::text FROM pg_event_trigger c WHERE o.classid = 'pg_event_trigger'::regclass AND c.oid = o.objid
        UNION ALL SELECT concat(to_jsonb(c) - 'oid', ' ', (SELECT string_agg(pnnspid::regnamespace::text, ' ' ORDER BY 1) FROM pg_publication_namespace WHERE pnpubid = c.oid))
                    FROM pg_publication c WHERE o.classid = 'pg_publication'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_foreign_server c WHERE o.classid = 'pg_foreign_server'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_foreign_data_wrapper c WHERE o.classid = 'pg_foreign_data_wrapper'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'umid')::text FROM pg_user_mappings c WHERE o.classid = 'pg_user_mapping'::regclass AND umid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_am c WHERE o.classid = 'pg_am'::regclass AND c.oid = o.objid
        UNION ALL SELECT (to_jsonb(c) - 'oid')::text FROM pg_language c WHERE o.classid = 'pg_language'::regclass AND c.oid = o.objid
        UNION ALL SELECT concat_ws(' ', subname, subowner, subenabled, subslotname, subpublications)
                    FROM pg_subscription c WHERE o.classid = 'pg_subscription'::regclass AND c.oid = o.objid
        UNION ALL SELECT format('%s %s %s', ftserver, ftoptions, '') FROM pg_foreign_table WHERE o.classid = 'pg_class'::regclass AND ftrelid = o.objid
    ) one (line)
    UNION ALL
    SELECT p.classid, p.objid, p.part, 'make', line, undo FROM privileges p
    UNION ALL
    SELECT 'pg_default_acl'::regclass, d.oid, 'privileges', 'make',
           (SELECT string_agg(statement || ' GRANT ' || granted, '; ' ORDER BY granted) FROM (
                SELECT format('%s ON %s TO %s%s', string_agg(privilege_type, ', ' ORDER BY privilege_type), what, whom,
                              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END) AS granted
                  FROM aclexplode(defaclacl), LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(grantee)) END AS whom) w
                 GROUP BY whom, is_grantable) g),
           concat((SELECT string_agg(DISTINCT format('%s REVOKE ALL ON %s FROM %s; ', statement, what,
                                     CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(grantee)) END), '')
                     FROM aclexplode(defaclacl)),
                  CASE WHEN defaclnamespace = 0 THEN (SELECT string_agg(format('%s GRANT %s ON %s TO %s; ', statement, privilege_type, what,
                                     CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(grantee)) END), '')
                     FROM aclexplode(acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole))) END)
      FROM chosen o JOIN pg_default_acl d ON o.classid = 'pg_default_acl'::regclass AND d.oid = o.objid,
           LATERAL (SELECT concat('ALTER DEFAULT PRIVILEGES', format(' FOR ROLE %I', pg_get_userbyid(defaclrole)),
                                  CASE WHEN defaclnamespace <> 0 THEN format(' IN SCHEMA %s', defaclnamespace::regnamespace) END) AS statement,
                           CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS what) s
    UNION ALL
    SELECT o.classid, o.objid, concat('comment ', partclass::regclass, ' ', i.identity), 'set',
           format('COMMENT ON %s IS %L', what, description), format('COMMENT ON %s IS NULL', what)
      FROM owned o, LATERAL (SELECT * FROM pg_description WHERE classoid = partclass AND objoid = part OFFSET 0) d,
           pg_identify_object(partclass, part, objsubid) i,
           LATERAL (SELECT CASE WHEN i.type LIKE '%column' THEN 'COLUMN ' || i.identity
                                WHEN i.type = 'table constraint' THEN 'CONSTRAINT ' || i.identity
                                WHEN i.type = 'domain constraint' THEN 'CONSTRAINT ' || replace(i.identity, ' on ', ' ON DOMAIN ')
                                WHEN i.type = 'composite type' THEN 'TYPE ' || i.identity
                                WHEN i.type = 'statistics object' THEN 'STATISTICS ' || i.identity
                                WHEN i.type = 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER ' || i.identity
                                ELSE i.type || ' ' || i.identity END AS what) w
     WHERE NOT (i.type = 'trigger' AND i.identity LIKE 'protean_testing%')
) part
