-- What the roles of db/roles.sql may do. `dealbox migrate up` applies it every time, after
-- the migrations, so that a privilege is never older than the schema. A table without a line
-- here gives nobody anything, and a test fails. Where the roles do not exist (a Postgres on
-- which none can be made) only the first part does something; triggers then keep the history.
DO $$
DECLARE
    app      text := current_database() || '_app';
    auditor  text := current_database() || '_auditor';
    has_app  boolean := to_regrole(quote_ident(app)) IS NOT NULL;
    has_auditor boolean := to_regrole(quote_ident(auditor)) IS NOT NULL;
    decision record;
BEGIN
    -- Postgres lets everybody call a new function; some of ours run with the owner's rights.
    FOR decision IN
        SELECT p.oid::regprocedure AS function FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND pg_has_role(p.proowner, 'USAGE')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', decision.function);
    END LOOP;

    IF has_app THEN
        FOR decision IN
            SELECT * FROM (VALUES
                -- History: written once.
                ('inbox_event',               'SELECT, INSERT'),
                ('mirror_change',             'SELECT, INSERT'),
                ('alert_event',               'SELECT, INSERT'),
                ('circuit_breaker_event',     'SELECT, INSERT'),
                ('operator_action',           'SELECT, INSERT'),
                -- Snapshots: written once, too.
                ('forecast',                  'SELECT, INSERT'),
                ('forecast_currency',         'SELECT, INSERT'),
                ('forecast_month',            'SELECT, INSERT'),
                -- State. Only what Dealbox itself forgets may be deleted.
                ('entity_sync',               'SELECT, INSERT, UPDATE'),
                ('inbox_counter',             'SELECT, INSERT, UPDATE'),
                ('strapi_attribute',          'SELECT, INSERT, UPDATE'),
                ('deal',                      'SELECT, INSERT, UPDATE'),
                ('billing',                   'SELECT, INSERT, UPDATE'),
                ('forecast_scope',            'SELECT, UPDATE'),
                -- What they are is written once; what becomes of them is state.
                ('alert',                     'SELECT, INSERT, UPDATE (level, status, message, details, occurrences, members, last_seen, '
                                              'resolved_at, silence_id, inhibitor_id, notified_at)'),
                ('alert_member',              'SELECT, INSERT, UPDATE (name, value, shown, link, reason), DELETE'),
                ('notification',              'SELECT, INSERT, UPDATE (status, attempts, last_error, next_attempt_at, sent_at, failed_at, '
                                              'suppressed_by, suppressed_at, members)'),
                ('silence',                   'SELECT, INSERT, UPDATE (ended_at, ended_by)'),
                ('alert_sample',              'SELECT, INSERT, UPDATE, DELETE'),
                -- Changes to counts, appended by triggers and folded once a minute.
                ('alert_tally',               'SELECT, INSERT, DELETE'),
                ('alert_hour',                'SELECT, INSERT, DELETE'),
                ('circuit_breaker',           'SELECT, UPDATE'),
                ('deletion_guard',            'SELECT, INSERT, UPDATE'),
                ('reconciliation_run',        'SELECT, INSERT, UPDATE'),
                ('reconciliation_difference', 'SELECT, INSERT, UPDATE'),
                ('reconciliation_type',       'SELECT, INSERT, UPDATE'),
                ('reconciliation_staged',     'SELECT, INSERT, DELETE'),
                -- Read only.
                ('inbox_event_status',        'SELECT'),
                ('inbox_ledger',              'SELECT'),
                ('retention_event',           'SELECT'),
                ('goose_db_version',          'SELECT')
            ) AS t (name, privileges)
        LOOP
            -- This takes away what a column gives, too.
            EXECUTE format('REVOKE ALL ON public.%I FROM %I', decision.name, app);
            EXECUTE format('GRANT %s ON public.%I TO %I', decision.privileges, decision.name, app);
        END LOOP;
        EXECUTE format('GRANT EXECUTE ON FUNCTION public.inbox_make_partitions(integer), public.inbox_partition_horizon(), '
                       'public.inbox_drop_day(interval), public.alert_prune(interval, integer), public.mirror_change_prune(interval, integer), '
                       'public.circuit_breaker_event_prune(interval, integer), public.forecast_prune(interval, integer), '
                       'public.reconciliation_run_prune(interval, integer), public.alert_hour_prune(interval, integer) TO %I', app);

        -- River works with all of its own tables; which migrations it has is not the service's to write.
        EXECUTE format('GRANT USAGE ON SCHEMA river TO %I', app);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA river TO %I', app);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON river.river_migration FROM %I', app);
        EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA river TO %I', app);
    END IF;

    IF has_auditor THEN
        EXECUTE format('GRANT SELECT ON public.audit_alert, public.audit_notification, public.audit_breaker, public.audit_event, '
                       'public.audit_silence, public.audit_retention, public.audit_operator TO %I', auditor);
    END IF;
END $$;
