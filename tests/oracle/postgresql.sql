-- All that a schema is, by names, as text: what is made again the same gives the same.
WITH n AS MATERIALIZED (
    SELECT oid, nspname FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'protean_testing')
), c AS MATERIALIZED (SELECT c.*, nspname FROM pg_class c JOIN n ON n.oid = c.relnamespace)
SELECT 'relation', nspname, c.relname, concat_ws(' ', c.relkind, c.relpersistence, c.relispopulated,
       c.relrowsecurity, c.relforcerowsecurity,
       ARRAY(SELECT r::text FROM unnest(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) r ORDER BY 1), pg_get_expr(c.relpartbound, c.oid),
       obj_description(c.oid, 'pg_class'), pg_get_viewdef(CASE WHEN c.relkind IN ('v', 'm') THEN c.oid END),
       (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attnum)
          FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
  FROM c
UNION ALL
SELECT 'constraint', nspname, concat_ws('.', relname, conname),
       concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated)
  FROM pg_constraint k JOIN c ON c.oid = k.conrelid
UNION ALL
SELECT 'trigger', nspname, concat_ws('.', relname, tgname),
    concat_ws(' ', tgenabled, pg_get_triggerdef(t.oid))
  FROM pg_trigger t JOIN c ON c.oid = t.tgrelid WHERE NOT tgisinternal AND tgname !~ '^protean_testing'
UNION ALL
SELECT 'internal trigger', nspname, relname, concat_ws(' ', tgenabled, count(*))
  FROM pg_trigger t JOIN c ON c.oid = t.tgrelid WHERE tgisinternal GROUP BY 2, 3, tgenabled
UNION ALL
SELECT 'rule', nspname, concat_ws('.', relname, rulename), concat_ws(' ', ev_enabled, pg_get_ruledef(r.oid))
  FROM pg_rewrite r JOIN c ON c.oid = r.ev_class
UNION ALL
SELECT 'policy', nspname, concat_ws('.', relname, polname), pg_get_expr(polqual, polrelid)
  FROM pg_policy p JOIN c ON c.oid = p.polrelid
UNION ALL
SELECT 'function', nspname, p.oid::regprocedure::text, prosrc FROM pg_proc p JOIN n ON n.oid = pronamespace
UNION ALL
SELECT 'type', nspname, typname,
       (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum e WHERE enumtypid = t.oid)
  FROM pg_type t JOIN n ON n.oid = typnamespace
UNION ALL
SELECT 'schema', nspname, '', concat_ws(' ', pg_get_userbyid(nspowner),
       ARRAY(SELECT r::text FROM unnest(coalesce(nspacl, acldefault('n', nspowner))) r ORDER BY 1))
  FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'protean_testing')
UNION ALL
SELECT 'owner', nspname, relname, pg_get_userbyid(relowner) FROM c
UNION ALL
SELECT 'comment', '', concat_ws(' ', i.type, i.identity), description
  FROM pg_description d, pg_identify_object(classoid, objoid, objsubid) i
 WHERE objoid >= 16384 OR classoid = 'pg_namespace'::regclass
UNION ALL
SELECT 'column', nspname, concat_ws('.', relname, attname), concat_ws(' ', attnum - (SELECT count(*) FROM pg_attribute g
           WHERE g.attrelid = a.attrelid AND g.attnum BETWEEN 1 AND a.attnum AND g.attisdropped), attacl, attstorage,
           coalesce(attstattarget, -1), attoptions, attislocal, attinhcount)
  FROM pg_attribute a JOIN c ON c.oid = attrelid WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'options', nspname, relname, concat_ws(' ', reloptions, relreplident) FROM c
UNION ALL
SELECT 'heir', nspname, relname, string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
  FROM c JOIN pg_inherits ON inhrelid = c.oid GROUP BY 2, 3
UNION ALL
SELECT 'rights', '', p.oid::regprocedure::text,
       concat_ws(' ', proowner::regrole, ARRAY(SELECT r::text FROM unnest(coalesce(proacl, acldefault('f', proowner))) r ORDER BY 1)) FROM pg_proc p JOIN n ON n.oid = pronamespace
UNION ALL
SELECT 'rights of type', '', t.oid::regtype::text, concat_ws(' ', typowner::regrole, ARRAY(SELECT r::text FROM unnest(coalesce(typacl, acldefault('T', typowner))) r ORDER BY 1),
           typdefault, typnotnull, (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(k.oid)), ', ' ORDER BY conname)
                                      FROM pg_constraint k WHERE contypid = t.oid))
  FROM pg_type t JOIN n ON n.oid = typnamespace WHERE typtype IN ('d', 'e', 'r')
UNION ALL
SELECT 'default privileges', '', defaclobjtype::text || defaclrole::regrole || defaclnamespace::regnamespace, defaclacl::text
  FROM pg_default_acl
UNION ALL
SELECT 'statistics', '', stxname, concat(pg_get_statisticsobjdef(oid), coalesce(stxstattarget, -1)) FROM pg_statistic_ext
UNION ALL
SELECT 'other', '', concat_ws(' ', i.type, i.identity), pg_get_userbyid(one.owner)
  FROM (SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_publication
        UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvowner FROM pg_foreign_server
        UNION ALL SELECT 'pg_user_mapping'::regclass, oid, 10 FROM pg_user_mapping
        UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_conversion WHERE oid >= 16384
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict WHERE oid >= 16384
        UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config WHERE oid >= 16384
        UNION ALL SELECT 'pg_ts_parser'::regclass, oid, 10 FROM pg_ts_parser WHERE oid >= 16384
        UNION ALL SELECT 'pg_ts_template'::regclass, oid, 10 FROM pg_ts_template WHERE oid >= 16384
        UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator WHERE oid >= 16384
        UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_opfamily WHERE oid >= 16384
        UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass WHERE oid >= 16384
        UNION ALL SELECT 'pg_am'::regclass, oid, 10 FROM pg_am WHERE oid >= 16384
        UNION ALL SELECT 'pg_language'::regclass, oid, lanowner FROM pg_language WHERE oid >= 16384
        UNION ALL SELECT 'pg_cast'::regclass, oid, 10 FROM pg_cast WHERE oid >= 16384
        UNION ALL SELECT 'pg_transform'::regclass, oid, 10 FROM pg_transform
        UNION ALL SELECT 'pg_collation'::regclass, oid, collowner FROM pg_collation WHERE oid >= 16384
        UNION ALL SELECT 'pg_extension'::regclass, oid, extowner FROM pg_extension
        UNION ALL SELECT 'pg_event_trigger'::regclass, oid, evtowner FROM pg_event_trigger WHERE evtname !~ '^protean_testing'
        UNION ALL SELECT 'pg_subscription'::regclass, s.oid, subowner FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
                   WHERE datname = current_database()) one (class, oid, owner), pg_identify_object(class, one.oid, 0) i
UNION ALL
SELECT 'dictionary', '', dictname, dictinitoption FROM pg_ts_dict WHERE oid >= 16384
UNION ALL
SELECT 'mapping', '', cfgname, string_agg(concat_ws(' ', maptokentype, mapseqno, mapdict::regdictionary), ', ' ORDER BY maptokentype, mapseqno)
  FROM pg_ts_config f JOIN pg_ts_config_map m ON mapcfg = f.oid WHERE f.oid >= 16384 GROUP BY 3
UNION ALL
SELECT 'large object', '', l.oid::text,
       concat_ws(' ', lomowner::regrole, ARRAY(SELECT r::text FROM unnest(coalesce(lomacl, acldefault('L', lomowner))) r ORDER BY 1), lo_get(l.oid), description)
  FROM pg_largeobject_metadata l LEFT JOIN pg_description d ON d.classoid = 'pg_largeobject'::regclass AND d.objoid = l.oid
UNION ALL
SELECT 'sequence', nspname, relname,
    concat_ws(' ', seqstart, seqincrement, seqcycle, seqcache, seqtypid::regtype)
  FROM pg_sequence s JOIN c ON c.oid = s.seqrelid
