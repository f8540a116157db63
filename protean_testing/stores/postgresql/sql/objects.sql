-- Every object of the user's that can be dropped by itself: nothing of the server's, of extensions or ours,
-- and nothing that goes with its owner (row types, identity sequences, array types).
WITH space AS (
    SELECT oid FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'protean_testing', 'protean_testing_rescued',
                                                     'protean_testing_messages')
), every (classid, objid, space) AS (
    SELECT 'pg_class'::regclass, oid, relnamespace FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
     WHERE typtype <> 'c' OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL
    SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
    UNION ALL
    SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass
    UNION ALL
    SELECT 'pg_opfamily'::regclass, oid, opfnamespace FROM pg_opfamily
    UNION ALL
    SELECT 'pg_collation'::regclass, oid, collnamespace FROM pg_collation
    UNION ALL
    SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, oid, stxnamespace FROM pg_statistic_ext
    UNION ALL
    SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
    UNION ALL
    SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
    UNION ALL
    SELECT 'pg_ts_parser'::regclass, oid, prsnamespace FROM pg_ts_parser
    UNION ALL
    SELECT 'pg_ts_template'::regclass, oid, tmplnamespace FROM pg_ts_template
), chosen (classid, objid) AS (
    SELECT classid, objid FROM every WHERE objid >= 16384 AND space IN (SELECT oid FROM space)
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid FROM space
    UNION ALL
    SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_cast'::regclass, oid FROM pg_cast WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger WHERE evtname !~ '^protean_testing_'
    UNION ALL
    SELECT 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_user_mapping'::regclass, umid FROM pg_user_mappings
    UNION ALL
    SELECT 'pg_am'::regclass, oid FROM pg_am WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_language'::regclass, oid FROM pg_language WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_transform'::regclass, oid FROM pg_transform WHERE oid >= 16384
    UNION ALL
    SELECT 'pg_default_acl'::regclass, oid FROM pg_default_acl
    UNION ALL
    SELECT 'pg_subscription'::regclass, oid FROM pg_subscription
     WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT classid::int8, objid::int8 FROM chosen o
 WHERE NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype IN ('e', 'i')
                      AND d.refobjid <> d.objid)
