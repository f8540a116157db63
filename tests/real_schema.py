"""A schema such as large, old applications have: some 140 tables, and one of each kind of thing beside them.

Also a dump of all that a database holds, by ``pg_dump``, to compare.
"""

# ruff: noqa: E501

from __future__ import annotations

import re
import subprocess

from protean_testing.servers.binaries import postgresql
from protean_testing.servers.postgresql import PrivatePostgreSQL

from .oracle.postgresql import old_binaries

_PLAIN = 100  # tables that refer to the one before them

_SPECIAL = """
CREATE EXTENSION citext; CREATE EXTENSION btree_gist;
CREATE SCHEMA audit; COMMENT ON SCHEMA audit IS 'who did what';
CREATE SCHEMA billing;
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TYPE address AS (street text, town text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN email AS citext CONSTRAINT has_at CHECK (VALUE ~ '@');
CREATE TYPE span AS RANGE (subtype = timestamptz);

CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit.log (what, at) VALUES (tg_table_name || tg_op, '2020-01-01'); RETURN NULL; END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$;
CREATE FUNCTION insert_person() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.person (name) VALUES (NEW.name); RETURN NEW; END $$;
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';

CREATE TABLE audit.log (id bigserial PRIMARY KEY, what text, at timestamptz);
CREATE TABLE person (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40) NOT NULL DEFAULT 'Ann', mail email UNIQUE,
    mood mood, home address, born date, tags text[], doubled int GENERATED ALWAYS AS (twice(3)) STORED, shoe positive
);
COMMENT ON TABLE person IS 'somebody'; COMMENT ON COLUMN person.mood IS 'today';
CREATE INDEX person_name ON person (lower(name)) WHERE name <> '';
COMMENT ON INDEX person_name IS 'found by it';
ALTER TABLE person ALTER name SET STATISTICS 200;
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE person ENABLE ALWAYS TRIGGER noted;
CREATE STATISTICS person_names (dependencies) ON name, born FROM person;

CREATE TABLE booking (room int, during span, EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE TABLE ledger (id serial PRIMARY KEY, amount numeric(12, 2) NOT NULL CHECK (amount <> 0));
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger EXECUTE FUNCTION refuse();

CREATE TABLE measure (region int, at date, n int, PRIMARY KEY (region, at)) PARTITION BY LIST (region);
CREATE TABLE measure_1 PARTITION OF measure FOR VALUES IN (1) PARTITION BY RANGE (at);
CREATE TABLE measure_1_2020 PARTITION OF measure_1 FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')
    PARTITION BY HASH (n);
"""
_SPECIAL = (
    _SPECIAL.replace("n int, PRIMARY KEY (region, at)", "n int, PRIMARY KEY (region, at, n)")
    + """
CREATE TABLE measure_1_2020_a PARTITION OF measure_1_2020 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE measure_1_2020_b PARTITION OF measure_1_2020 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
CREATE INDEX measure_n ON measure (n);

CREATE TABLE vehicle (id serial PRIMARY KEY, wheels int); CREATE TABLE car (doors int) INHERITS (vehicle);
CREATE TABLE secret (id serial PRIMARY KEY, owner text, what text);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON secret FOR SELECT USING (owner = current_user);
CREATE TABLE forced (id serial PRIMARY KEY, what text);
ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY every ON forced USING (true);
CREATE TABLE old (id int PRIMARY KEY, what text);
CREATE RULE kept AS ON DELETE TO old WHERE OLD.id = 0 DO INSTEAD NOTHING;

CREATE TABLE hen (id int PRIMARY KEY, egg int); CREATE TABLE egg (id int PRIMARY KEY, hen int);
ALTER TABLE hen ADD CONSTRAINT hatched FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE egg ADD CONSTRAINT laid FOREIGN KEY (hen) REFERENCES hen DEFERRABLE INITIALLY DEFERRED;

CREATE SEQUENCE shared CACHE 10; CREATE SEQUENCE round MAXVALUE 5 CYCLE;
CREATE TABLE left_side (id int PRIMARY KEY DEFAULT nextval('shared'));
CREATE TABLE right_side (id int PRIMARY KEY DEFAULT nextval('shared'), round int DEFAULT nextval('round'));
CREATE UNLOGGED TABLE session (id text PRIMARY KEY, data jsonb);
CREATE TABLE billing.invoice (id serial PRIMARY KEY, person int REFERENCES person ON DELETE CASCADE);
CREATE TABLE nokey (a int, b text);

CREATE VIEW names AS SELECT id, name FROM person;
CREATE TRIGGER writes INSTEAD OF INSERT ON names FOR EACH ROW EXECUTE FUNCTION insert_person();
CREATE VIEW short_names WITH (security_barrier) AS SELECT name FROM names WHERE length(name) < 5;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM short_names;
CREATE UNIQUE INDEX counted_n ON counted (n);
CREATE MATERIALIZED VIEW counted_again AS SELECT n + 1 AS n FROM counted;
CREATE TEXT SEARCH DICTIONARY plain (template = simple);
CREATE TEXT SEARCH CONFIGURATION words (copy = english);
CREATE FUNCTION same(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
CREATE OPERATOR === (leftarg = int, rightarg = int, function = same);
CREATE COLLATION plain_c FROM "C";
GRANT SELECT ON person TO application; GRANT UPDATE (name) ON person TO application;
"""
)

_ROWS = """
INSERT INTO person (name, mail, mood) VALUES ('Ann', 'ann@x', 'happy'), ('Robert', NULL, 'sad');
INSERT INTO ledger (amount) VALUES (1), (2.50);
INSERT INTO booking VALUES (1, '[2020-01-01, 2020-01-02)');
INSERT INTO measure VALUES (1, '2020-03-01', 1), (1, '2020-03-02', 2), (7, '2022-01-01', 3);
INSERT INTO vehicle (wheels) VALUES (3); INSERT INTO car (wheels, doors) VALUES (4, 5);
INSERT INTO secret (owner, what) VALUES (current_user, 'mine'); INSERT INTO forced (what) VALUES ('all');
INSERT INTO old VALUES (0, 'kept'), (1, 'goes');
BEGIN; INSERT INTO hen VALUES (1, 1); INSERT INTO egg VALUES (1, 1); COMMIT;
INSERT INTO left_side DEFAULT VALUES; INSERT INTO right_side DEFAULT VALUES; INSERT INTO right_side DEFAULT VALUES;
INSERT INTO billing.invoice (person) VALUES (1);
INSERT INTO t1 (note) VALUES ('one'); INSERT INTO t2 (before_id, note) VALUES (1, 'two');
INSERT INTO nokey VALUES (1, 'x'), (1, 'x');
REFRESH MATERIALIZED VIEW counted; REFRESH MATERIALIZED VIEW counted_again;
"""


def schema(tables: int = _PLAIN) -> str:
    """The statements that make it, with so many plain tables among them."""
    plain = (
        f"CREATE TABLE t{number} (id serial PRIMARY KEY, note text NOT NULL DEFAULT 'x', n int CHECK (n > 0), "
        "at timestamptz"
        + (f", before_id int REFERENCES t{number - 1}" if number else "")
        + f"); CREATE INDEX ON t{number} (note); CREATE INDEX ON t{number} (n, at);"
        for number in range(tables)
    )
    return "".join(plain) + _SPECIAL


def rows() -> list[str]:
    """The statements that put rows into it."""
    return [_ROWS]


SMALL = "".join(
    f"CREATE TABLE t{number} (id serial PRIMARY KEY, note text NOT NULL DEFAULT 'x', n int CHECK (n > 0), "
    "at timestamptz);"
    for number in range(5)
)
"""Five tables, to which some of the changes can be made as well."""

PUBLIC = {
    "dropped and created": "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
    "dropped": "DROP SCHEMA public CASCADE",
    "granted": "GRANT CREATE ON SCHEMA public TO application",
    "revoked": "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    "owned": "ALTER SCHEMA public OWNER TO {other}",
    "commented": "COMMENT ON SCHEMA public IS 'of a test'",
    "renamed": "ALTER SCHEMA public RENAME TO elsewhere",
    "renamed and created": "ALTER SCHEMA public RENAME TO elsewhere; CREATE SCHEMA public; CREATE TABLE public.made ()",
}

ADDED = {
    "index": "CREATE INDEX made ON t1 (id, note)",
    "unique index": "CREATE UNIQUE INDEX made ON t1 (id, note)",
    "index of partitions": "CREATE INDEX made ON measure (at)",
    "column": "ALTER TABLE t1 ADD made int DEFAULT 7",
    "column of a partitioned table": "ALTER TABLE measure ADD made int DEFAULT 7",
    "column of an inherited table": "ALTER TABLE vehicle ADD made int DEFAULT 7",
    "serial column": "ALTER TABLE t1 ADD made serial",
    "generated column": "ALTER TABLE t1 ADD made int GENERATED ALWAYS AS (n * 2) STORED",
    "check": "ALTER TABLE t1 ADD CONSTRAINT made CHECK (n < 1000)",
    "check of an inherited table": "ALTER TABLE vehicle ADD CONSTRAINT made CHECK (wheels < 100)",
    "check of partitions": "ALTER TABLE measure ADD CONSTRAINT made CHECK (n < 1000)",
    "unique constraint": "ALTER TABLE t1 ADD CONSTRAINT made UNIQUE (note, id)",
    "foreign key": "ALTER TABLE t1 ADD CONSTRAINT made FOREIGN KEY (n) REFERENCES t2",
    "foreign key to a new table": "CREATE TABLE made (id int PRIMARY KEY); "
    "ALTER TABLE t1 ADD CONSTRAINT made FOREIGN KEY (n) REFERENCES made",
    "column of a new type": "CREATE TYPE made AS ENUM ('a'); ALTER TABLE t1 ADD made made",
    "primary key": "ALTER TABLE nokey ADD made serial PRIMARY KEY",
    "comment": "COMMENT ON TABLE t1 IS 'of a test'",
    "another comment": "COMMENT ON TABLE person IS 'of a test'; COMMENT ON COLUMN person.mood IS NULL",
    "comment on a column": "COMMENT ON COLUMN t1.note IS 'of a test'",
    "comment on a constraint": "COMMENT ON CONSTRAINT hatched ON hen IS 'of a test'",
    "comment on an index": "COMMENT ON INDEX person_name IS 'of a test'",
    "comment on a trigger": "COMMENT ON TRIGGER noted ON person IS 'of a test'",
    "comment on a policy": "COMMENT ON POLICY own ON secret IS 'of a test'",
    "comment on a rule": "COMMENT ON RULE kept ON old IS 'of a test'",
    "comment on a schema": "COMMENT ON SCHEMA audit IS 'of a test'",
    "comment on a function": "COMMENT ON FUNCTION twice(int) IS 'of a test'",
    "comment on a type": "COMMENT ON TYPE mood IS 'of a test'",
    "comment on a domain's constraint": "COMMENT ON CONSTRAINT has_at ON DOMAIN email IS 'of a test'",
    "grant": "GRANT INSERT ON t1 TO application",
    "grant on a column": "GRANT UPDATE (note) ON t1 TO application",
    "grant on a sequence": "GRANT USAGE ON SEQUENCE shared TO application",
    "grant on a function": "REVOKE EXECUTE ON FUNCTION twice(int) FROM PUBLIC",
    "grant on a schema": "GRANT CREATE ON SCHEMA audit TO application WITH GRANT OPTION",
    "grant on a type": "GRANT USAGE ON TYPE mood TO application; REVOKE USAGE ON TYPE mood FROM PUBLIC",
    "trigger": "CREATE TRIGGER made BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION note()",
    "rule": "CREATE RULE made AS ON DELETE TO t1 DO INSTEAD NOTHING",
    "policy": "CREATE POLICY made ON secret USING (true)",
    "partition": "CREATE TABLE made PARTITION OF measure FOR VALUES IN (5)",
    "heir": "CREATE TABLE made () INHERITS (vehicle)",
    "label": "ALTER TYPE mood ADD VALUE 'tired'",
    "domain constraint": "ALTER DOMAIN positive ADD CONSTRAINT made CHECK (VALUE < 1000)",
}

ALTERED = {
    "index dropped": "DROP INDEX person_name",
    "constraint dropped": "ALTER TABLE hen DROP CONSTRAINT hatched",
    "check dropped": "ALTER TABLE t1 DROP CONSTRAINT t1_n_check",
    "primary key dropped": "ALTER TABLE t1 DROP CONSTRAINT t1_pkey CASCADE",
    "trigger dropped": "DROP TRIGGER noted ON person",
    "trigger disabled": "ALTER TABLE person DISABLE TRIGGER noted",
    "triggers disabled and enabled": "ALTER TABLE person DISABLE TRIGGER USER; ALTER TABLE person ENABLE TRIGGER USER",
    "rule dropped": "DROP RULE kept ON old",
    "policy dropped": "DROP POLICY own ON secret",
    "policy altered": "ALTER POLICY own ON secret USING (true)",
    "revoked": "REVOKE ALL ON person FROM application",
    "revoked of a column": "REVOKE ALL (name) ON person FROM application",
    "row level security": "ALTER TABLE secret DISABLE ROW LEVEL SECURITY; ALTER TABLE t1 ENABLE ROW LEVEL SECURITY",
    "row level security forced": "ALTER TABLE secret FORCE ROW LEVEL SECURITY; "
    "ALTER TABLE forced NO FORCE ROW LEVEL SECURITY",
    "default": "ALTER TABLE t1 ALTER note SET DEFAULT 'y', ALTER n SET DEFAULT 4",
    "default dropped": "ALTER TABLE t1 ALTER note DROP DEFAULT",
    "not null": "ALTER TABLE t1 ALTER note DROP NOT NULL; ALTER TABLE t4 ALTER at SET NOT NULL",
    "column renamed": "ALTER TABLE t1 RENAME note TO notes",
    "column dropped": "ALTER TABLE t1 DROP note",
    "column's type": "ALTER TABLE t1 ALTER n TYPE bigint",
    "statistics target": "ALTER TABLE t1 ALTER note SET STATISTICS 500; ALTER TABLE person ALTER name SET STATISTICS -1",
    "options": "ALTER TABLE t1 SET (fillfactor = 50); ALTER INDEX person_name SET (fillfactor = 50)",
    "storage": "ALTER TABLE t1 ALTER note SET STORAGE EXTERNAL",
    "replica identity": "ALTER TABLE t1 REPLICA IDENTITY FULL",
    "renamed": "ALTER TABLE t1 RENAME TO renamed; ALTER INDEX person_name RENAME TO renamed_index",
    "constraint renamed": "ALTER TABLE t1 RENAME CONSTRAINT t1_pkey TO renamed",
    "moved": "ALTER TABLE nokey SET SCHEMA audit",
    "owner": "ALTER TABLE t1 OWNER TO {other}",
    "partition detached": "ALTER TABLE measure DETACH PARTITION measure_rest",
    "heir left": "ALTER TABLE car NO INHERIT vehicle",
    "function replaced": "CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 3'",
    "view replaced": "CREATE OR REPLACE VIEW names AS SELECT id, name FROM person WHERE id > 1",
    "view dropped": "DROP VIEW names CASCADE",
    "function dropped": "DROP AGGREGATE total(int); DROP PROCEDURE nothing()",
    "sequence altered": "ALTER SEQUENCE round MAXVALUE 100 NO CYCLE",
    "sequence not owned": "ALTER SEQUENCE t1_id_seq OWNED BY NONE",
    "table dropped": "DROP TABLE t2 CASCADE",
    "table dropped and created": "DROP TABLE nokey; CREATE TABLE nokey (a int, b text)",
    "schema dropped": "DROP SCHEMA billing CASCADE",
    "statistics dropped": "DROP STATISTICS person_names",
    "statistics altered": "ALTER STATISTICS person_names SET STATISTICS 50",
    "domain altered": "ALTER DOMAIN email DROP CONSTRAINT has_at; ALTER DOMAIN positive SET DEFAULT 5",
    "extension dropped": "DROP EXTENSION citext CASCADE",
    "identity": "ALTER TABLE person ALTER id SET GENERATED BY DEFAULT",
    "unlogged": "ALTER TABLE nokey SET UNLOGGED; ALTER TABLE session SET LOGGED",
    "dictionary altered": "ALTER TEXT SEARCH DICTIONARY plain (accept = false)",
    "configuration altered": "ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH simple",
    "operator dropped": "DROP OPERATOR === (int, int)",
    "collation renamed": "ALTER COLLATION plain_c RENAME TO other_c",
}

BESIDE = {
    "publication": "CREATE PUBLICATION made FOR TABLE t1",
    "publication of a schema": "CREATE PUBLICATION made FOR TABLES IN SCHEMA audit",
    "publication of all": "CREATE PUBLICATION made FOR ALL TABLES",
    "foreign data wrapper": "CREATE FOREIGN DATA WRAPPER made; CREATE SERVER made FOREIGN DATA WRAPPER made; "
    "CREATE USER MAPPING FOR PUBLIC SERVER made OPTIONS (a 'b'); CREATE FOREIGN TABLE made (a int) SERVER made",
    "conversion": "CREATE CONVERSION made FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "dictionary": "CREATE TEXT SEARCH DICTIONARY made (template = simple)",
    "configuration": "CREATE TEXT SEARCH CONFIGURATION made (copy = simple)",
    "parser": "CREATE TEXT SEARCH PARSER made (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, "
    "lextypes = prsd_lextype)",
    "template": "CREATE TEXT SEARCH TEMPLATE made (lexize = dsimple_lexize)",
    "operator family": "CREATE OPERATOR FAMILY made USING btree",
    "operator class": "CREATE OPERATOR CLASS made FOR TYPE int USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int)",
    "operator": "CREATE OPERATOR @#@ (leftarg = int, rightarg = int, function = same)",
    "access method": "CREATE ACCESS METHOD made TYPE TABLE HANDLER heap_tableam_handler",
    "language": "CREATE LANGUAGE made HANDLER plpgsql_call_handler",
    "cast": "CREATE CAST (text AS mood) WITH INOUT",
    "transform": "CREATE FUNCTION made(internal) RETURNS internal LANGUAGE internal IMMUTABLE STRICT "
    "AS 'textin'; CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION made(internal))",
    "subscription": "CREATE SUBSCRIPTION made CONNECTION 'dbname=none' PUBLICATION p "
    "WITH (connect = false, slot_name = 'made', enabled = false)",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO application; "
    "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; "
    "ALTER DEFAULT PRIVILEGES IN SCHEMA audit GRANT ALL ON SEQUENCES TO application",
    "statistics": "CREATE STATISTICS made ON id, note FROM t1",
    "collation": "CREATE COLLATION made FROM \"C\"; COMMENT ON COLLATION made IS 'x'",
    "event trigger": "CREATE FUNCTION made() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
    "CREATE EVENT TRIGGER made ON ddl_command_end EXECUTE FUNCTION made()",
    "aggregate": "CREATE AGGREGATE made (int) (sfunc = int4pl, stype = int)",
    "extension": "CREATE EXTENSION hstore",
    "large object": "SELECT lo_from_bytea(0, 'made')",
    "large objects of the class": "SELECT lo_put(4001, 0, 'XY'); SELECT lo_unlink(4002); "
    "SELECT lo_from_bytea(4003, 'made')",
    "large object's rights": "GRANT SELECT ON LARGE OBJECT 4001 TO application; COMMENT ON LARGE OBJECT 4001 IS 'x'",
    "large object beside a row": "INSERT INTO nokey VALUES (lo_from_bytea(0, 'made')::int, 'x')",
    "large objects gone": "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
}


def changes(role: str) -> dict[str, str]:
    """What a test may do to a schema, by the name of the kind. Not every role may do all of it."""
    other = "granted" if role == "owner" else "owner"
    return {
        f"{group} {name}": statement.replace("{other}", other)
        for group, kinds in (("public", PUBLIC), ("added", ADDED), ("altered", ALTERED), ("beside", BESIDE))
        for name, statement in kinds.items()
    }


def pg_dump(server: PrivatePostgreSQL, database: str) -> list[str]:
    """All that a superuser's ``pg_dump`` writes of a database, large objects too, but not what is ours."""
    from_old = old_binaries() if server.version.startswith("15") else None
    program = (from_old or postgresql().program.parent) / "pg_dump"
    command = [str(program), "--inserts", "--blobs", "--exclude-schema=protean_testing"]
    command += ["--dbname", server.url(database).replace("+psycopg", "")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    statements = [one.strip() for one in re.split(r"\n\n+", found) if not _NOISE.search(one)]
    inserts = [line for one in statements if one.startswith("INSERT") for line in one.splitlines()]
    return sorted([one for one in statements if one and not one.startswith("INSERT")] + inserts)


_NOISE = re.compile(r"protean_testing|^\\(un)?restrict|^--", re.MULTILINE)
