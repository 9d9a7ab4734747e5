-- One line of text for everything that defines the schema, whatever order it was made in.
--
-- Names, types, flags and the bodies of functions, which are stored as they were written. Not the text of
-- expressions (checks, defaults, views): PostgreSQL prints those from a parse tree, and prints some of them
-- differently once they were restored (`IN` over varchar becomes another cast). Members of extensions are
-- left out, as pg_dump does it. Works from PostgreSQL 12 on.
WITH
spaces AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
),
members AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS shown
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
)
SELECT line FROM (
    SELECT format('schema %I', s.nspname) AS line FROM spaces s
    WHERE s.nspname <> 'public'
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = s.oid)
  UNION ALL
    SELECT format('extension %I', extname) FROM pg_extension WHERE extname <> 'plpgsql'
  UNION ALL
    SELECT format('relation %s %s persistence %s rls %s %s replica %s partition %s options %s populated %s',
        relkind, shown, relpersistence, relrowsecurity, relforcerowsecurity, relreplident, relispartition,
        reloptions, relispopulated)
    FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  UNION ALL
    SELECT format('inherits %s from %s at %s', c.shown, i.inhparent::regclass, i.inhseqno)
    FROM pg_inherits i JOIN relations c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')
  UNION ALL
    SELECT format('column %s.%I %s null %s default %s generated %s identity %s collation %s storage %s',
        c.shown, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.atthasdef, a.attgenerated,
        a.attidentity, (SELECT collname FROM pg_collation WHERE oid = a.attcollation), a.attstorage)
    FROM pg_attribute a JOIN relations c ON c.oid = a.attrelid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT format('constraint %s.%I %s deferrable %s %s validated %s columns %s references %s %s%s%s',
        c.shown, k.conname, k.contype, k.condeferrable, k.condeferred, k.convalidated,
        (SELECT string_agg(quote_ident(a.attname), ',' ORDER BY n) FROM unnest(k.conkey) WITH ORDINALITY AS u (num, n)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
        CASE WHEN k.confrelid <> 0 THEN k.confrelid::regclass::text END, k.confupdtype, k.confdeltype, k.confmatchtype)
    FROM pg_constraint k JOIN relations c ON c.oid = k.conrelid WHERE k.contype IN ('c', 'f', 'p', 'u', 'x')
  UNION ALL
    SELECT format('index %s on %s unique %s primary %s valid %s method %s columns %s %s expressions %s predicate %s',
        c.shown, i.indrelid::regclass, i.indisunique, i.indisprimary, i.indisvalid,
        (SELECT amname FROM pg_am WHERE oid = c.relam), i.indnkeyatts,
        (SELECT string_agg(coalesce(quote_ident(a.attname), '?'), ',' ORDER BY n)
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (num, n)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num AND u.num > 0),
        i.indexprs IS NOT NULL, i.indpred IS NOT NULL)
    FROM pg_index i JOIN relations c ON c.oid = i.indexrelid WHERE c.relkind IN ('i', 'I')
  UNION ALL
    SELECT format('trigger %s.%I enabled %s type %s calls %s', c.shown, t.tgname, t.tgenabled, t.tgtype,
        t.tgfoid::regproc)
    FROM pg_trigger t JOIN relations c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
  UNION ALL
    SELECT format('policy %s.%I for %s permissive %s roles %s', c.shown, p.polname, p.polcmd, p.polpermissive,
        (SELECT string_agg(CASE WHEN r = 0 THEN 'public' ELSE r::regrole::text END, ',' ORDER BY r::regrole::text)
            FROM unnest(p.polroles) AS r))
    FROM pg_policy p JOIN relations c ON c.oid = p.polrelid
  UNION ALL
    SELECT format('rule %s.%I enabled %s event %s', c.shown, w.rulename, w.ev_enabled, w.ev_type)
    FROM pg_rewrite w JOIN relations c ON c.oid = w.ev_class WHERE w.rulename <> '_RETURN'
  UNION ALL
    SELECT format('sequence %s type %s start %s by %s from %s to %s cache %s cycle %s', c.shown,
        format_type(q.seqtypid, NULL), q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, q.seqcycle)
    FROM pg_sequence q JOIN relations c ON c.oid = q.seqrelid
  UNION ALL
    SELECT format('function %s %I.%I(%s) returns %s language %s volatility %s strict %s definer %s body %s', p.prokind,
        s.nspname, p.proname, pg_get_function_identity_arguments(p.oid), p.prorettype::regtype,
        (SELECT lanname FROM pg_language WHERE oid = p.prolang), p.provolatile, p.proisstrict, p.prosecdef,
        md5(p.prosrc))
    FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
      -- Those of range types come with their type.
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
          AND d.deptype = 'i')
  UNION ALL
    SELECT format('type %s %I.%I is %s of %s null %s labels %s', t.typtype, s.nspname, t.typname, t.typcategory,
        CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, NOT t.typnotnull,
        (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e
            WHERE e.enumtypid = t.oid))
    FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'r')
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
  UNION ALL
    SELECT format('domain check %s.%I validated %s', k.contypid::regtype, k.conname, k.convalidated)
    FROM pg_constraint k JOIN spaces s ON s.oid = k.connamespace WHERE k.contypid <> 0 AND k.contype = 'c'
  UNION ALL
    SELECT format('operator %I.%s(%s, %s)', s.nspname, o.oprname, o.oprleft::regtype, o.oprright::regtype)
    FROM pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
  UNION ALL
    SELECT format('collation %I.%I provider %s', s.nspname, l.collname, l.collprovider)
    FROM pg_collation l JOIN spaces s ON s.oid = l.collnamespace
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_collation'::regclass AND m.objid = l.oid)
  UNION ALL
    SELECT format('text search %I.%I', s.nspname, f.cfgname)
    FROM pg_ts_config f JOIN spaces s ON s.oid = f.cfgnamespace
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_config'::regclass AND m.objid = f.oid)
  UNION ALL
    SELECT format('event trigger %I on %s enabled %s calls %s', evtname, evtevent, evtenabled, evtfoid::regproc)
    FROM pg_event_trigger e
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid)
  UNION ALL
    SELECT format('publication %I all %s', pubname, puballtables) FROM pg_publication
  UNION ALL
    SELECT format('statistics %I.%I on %s', s.nspname, x.stxname, x.stxrelid::regclass)
    FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace
) AS lines
ORDER BY line COLLATE "C"
