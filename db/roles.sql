-- The three roles of Dealbox in this database. Run it as the database's administrator
-- (a superuser, or a role that may create roles and owns the database), as often as you like:
--
--   psql --dbname dealbox --file db/roles.sql
--   psql --dbname dealbox --command '\password dealbox_owner'   (and _app, and _auditor)
--   dealbox migrate up                                          (as dealbox_owner: it grants)
--
-- The roles carry the database's name, so that a staging database on the same server has its own:
--
--   <database>_owner    DATABASE_MIGRATE_URL  owns the tables; runs migrations
--   <database>_app      DATABASE_URL          the service: no DDL, and it cannot change history
--   <database>_auditor  people                reads the audit_ views, and nothing else
--
-- Which table gives which role what is in db/migrations/grants.sql. Tables that exist already
-- change hands, so stop Dealbox first. This expects a database that is Dealbox's alone.
DO $$
DECLARE
    db      text := current_database();
    owner   text := db || '_owner';
    app     text := db || '_app';
    auditor text := db || '_auditor';
    role    text;
    change  text;
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    IF octet_length(db) > 50 THEN
        RAISE EXCEPTION 'the name of database % is too long to name roles after it', db;
    END IF;
    FOREACH role IN ARRAY ARRAY[owner, app, auditor] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', db, role);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role);
    END LOOP;

    -- Nobody else makes anything here: a table of a stranger in public, or a temporary
    -- one, could stand in front of ours.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', db);
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', db, owner);
    EXECUTE format('GRANT CREATE ON SCHEMA public TO %I', owner);

    -- What was made before there were roles. To hand something over, one must be a
    -- member of the role that takes it.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', owner);
    END IF;
    FOR change IN
        SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, owner)
        FROM pg_namespace WHERE nspname = 'river' AND pg_get_userbyid(nspowner) <> owner
        UNION ALL
        -- Sequences of identity and serial columns follow their table.
        SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, owner)
        FROM pg_class c
        WHERE c.relnamespace IN (to_regnamespace('public'), to_regnamespace('river')) AND pg_get_userbyid(c.relowner) <> owner
          AND (c.relkind IN ('r', 'p', 'v') OR c.relkind = 'S' AND NOT EXISTS (
              SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, owner)
        FROM pg_proc p
        WHERE p.pronamespace IN (to_regnamespace('public'), to_regnamespace('river')) AND pg_get_userbyid(p.proowner) <> owner
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO %I', t.oid::regtype, owner)
        FROM pg_type t
        WHERE t.typnamespace IN (to_regnamespace('public'), to_regnamespace('river')) AND t.typtype IN ('e', 'd')
          AND pg_get_userbyid(t.typowner) <> owner
    LOOP
        EXECUTE change;
    END LOOP;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE %I FROM CURRENT_USER', owner);
    END IF;

    -- An auditor changes nothing by mistake, and a forgotten query ends by itself.
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET default_transaction_read_only = on', auditor, db);
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = %L', auditor, db, '15min');
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET idle_in_transaction_session_timeout = %L', auditor, db, '15min');
END $$;
