-- A line for everything in a database that is not the server's, or not as the server has made it, and what an
-- ownership marker calls it.
SELECT 'extension ' || extname || ' ' || extversion || ' in ' || extnamespace::regnamespace,
       CASE WHEN oid >= 16384 THEN 'pg_extension'::regclass::int8 || ':' || oid END
  FROM pg_extension
UNION ALL
SELECT i.type || ' ' || i.identity, o.classid || ':' || o.objid
  FROM (:objects) o, pg_identify_object(o.classid::oid, o.objid::oid, 0) i
 WHERE o.classid NOT IN ('pg_extension'::regclass::int8, 'pg_default_acl'::regclass::int8) AND o.objid >= 16384
UNION ALL
SELECT 'default privileges of ' || pg_get_userbyid(defaclrole) || ' on ' || defaclobjtype::text
       || CASE WHEN defaclnamespace = 0 THEN '' ELSE ' in ' || defaclnamespace::regnamespace END
       || ': ' || defaclacl::text, 'pg_default_acl'::regclass::int8 || ':' || oid
  FROM pg_default_acl
UNION ALL
SELECT 'large object ' || oid, NULL FROM pg_largeobject_metadata
UNION ALL
SELECT 'of the server: schema ' || nspname || ' of ' || pg_get_userbyid(nspowner)
       || coalesce(' ' || nspacl::text, '') || coalesce(' ' || obj_description(oid, 'pg_namespace'), ''), NULL
  FROM pg_namespace WHERE oid < 16384 AND nspname !~ '^pg_(toast|temp)'
UNION ALL
SELECT 'of the server: ' || i.type || ' ' || i.identity || ' ' || coalesce(one.acl::text, ''), NULL
  FROM (SELECT 'pg_proc'::regclass AS class, oid, proacl AS acl FROM pg_proc
        UNION ALL
        SELECT 'pg_class'::regclass, oid, relacl FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
        UNION ALL
        SELECT 'pg_type'::regclass, oid, typacl FROM pg_type
        UNION ALL
        SELECT 'pg_language'::regclass, oid, lanacl FROM pg_language) one
  LEFT JOIN pg_init_privs p ON p.objoid = one.oid AND p.classoid = one.class AND p.objsubid = 0,
       LATERAL pg_identify_object(one.class, one.oid, 0) i
 WHERE one.oid < 16384 AND one.acl IS DISTINCT FROM p.initprivs
