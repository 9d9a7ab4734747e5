SET lock_timeout = '5s';
DO $deploy_kit$
DECLARE
  one record;
  public_owner name;
BEGIN
  SELECT pg_get_userbyid(nspowner) INTO public_owner FROM pg_namespace WHERE nspname = 'public';
  FOR one IN SELECT evtname AS it FROM pg_event_trigger LOOP
    EXECUTE format('DROP EVENT TRIGGER %I CASCADE', one.it);
  END LOOP;
  FOR one IN SELECT pubname AS it FROM pg_publication LOOP
    EXECUTE format('DROP PUBLICATION %I CASCADE', one.it);
  END LOOP;
  FOR one IN SELECT extname AS it FROM pg_extension WHERE extname <> 'plpgsql' LOOP
    EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', one.it);
  END LOOP;
  FOR one IN SELECT fdwname AS it FROM pg_foreign_data_wrapper LOOP
    EXECUTE format('DROP FOREIGN DATA WRAPPER %I CASCADE', one.it);
  END LOOP;
  FOR one IN SELECT nspname AS it FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', one.it);
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
  -- As initdb makes it: a dump says how its own differs from that.
  IF current_setting('server_version_num')::int >= 150000 THEN
    EXECUTE format('CREATE SCHEMA public AUTHORIZATION %I', coalesce(public_owner, 'pg_database_owner'));
    GRANT USAGE ON SCHEMA public TO PUBLIC;
  ELSE
    EXECUTE format('CREATE SCHEMA public AUTHORIZATION %I', coalesce(public_owner, current_user));
    GRANT ALL ON SCHEMA public TO PUBLIC;
  END IF;
  COMMENT ON SCHEMA public IS 'standard public schema';
END
$deploy_kit$;
