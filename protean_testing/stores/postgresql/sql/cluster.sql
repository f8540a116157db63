-- What belongs to the server and to no database, and the statement that removes it. Databases of ours, by their names or
-- their comments (see missing.py), of whatever worker or store, come and go meanwhile, and so does the role that a
-- Message DB beside this one is installed with. No value of a setting: it may be a password.
SELECT 'role ' || quote_ident(rolname), 'DROP ROLE ' || quote_ident(rolname) FROM pg_roles
 WHERE oid >= 16384 AND rolname <> 'message_store'
UNION ALL
SELECT format('membership of %I in %I', m.rolname, r.rolname), format('REVOKE %I FROM %I', r.rolname, m.rolname)
  FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
UNION ALL
SELECT 'database ' || quote_ident(datname), 'DROP DATABASE ' || quote_ident(datname) FROM pg_database
 WHERE datname !~ '(^|_)protean_testing'
   AND NOT starts_with(coalesce(shobj_description(oid, 'pg_database'), ''), 'made by protean_testing')
UNION ALL
SELECT 'tablespace ' || quote_ident(spcname), 'DROP TABLESPACE ' || quote_ident(spcname) FROM pg_tablespace
UNION ALL
SELECT 'replication slot ' || slot_name, format('SELECT pg_drop_replication_slot(%L)', slot_name)
  FROM pg_replication_slots WHERE NOT temporary AND (database IS NULL OR database = current_database())
UNION ALL
SELECT format('setting %s of %s', name, whose), format('ALTER %s RESET %I', whose, name)
  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole,
       unnest(setconfig) option, split_part(option, '=', 1) name,
       concat_ws(' IN ', 'ROLE ' || quote_ident(rolname), 'DATABASE ' || quote_ident(datname)) whose
 WHERE setdatabase = 0 OR datname = current_database()
