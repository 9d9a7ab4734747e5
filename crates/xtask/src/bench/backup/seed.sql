SELECT setseed(0.42);
CREATE TABLE accounts (id bigint, branch integer, balance integer, filler char(84));
INSERT INTO accounts SELECT i, i % 100, (random() * 1000000)::integer, '' FROM generate_series(1, ACCOUNTS) AS i;
ALTER TABLE accounts ADD PRIMARY KEY (id);
-- Few words are frequent and many are rare, as in any language.
CREATE TEMPORARY TABLE paragraphs AS
    WITH words AS (SELECT array_agg(substr(translate(md5(i::text), '0123456789', 'etaoinshrd'), 1, 2 + i % 9) ORDER BY i) AS all_of_them
        FROM generate_series(1, 8000) AS i)
    SELECT p AS n, (SELECT string_agg(all_of_them[1 + (7999 * random() ^ 4)::integer + s * 0], ' ')
        FROM generate_series(1, 60) AS s) AS body
    FROM words, generate_series(0, 19999) AS p;
CREATE INDEX ON paragraphs (n);
ANALYZE paragraphs;
CREATE TABLE articles (id bigint, title text, body text, written timestamptz);
INSERT INTO articles SELECT a, 'Article ' || a, one.body || E'\n\n' || two.body || E'\n\n' || three.body,
        '2020-01-01'::timestamptz + a * interval '7 minutes'
    FROM (SELECT a, (random() * 19999)::integer AS n1, (random() * 19999)::integer AS n2, (random() * 19999)::integer AS n3
        FROM generate_series(1, ACCOUNTS / 14) AS a) AS chosen
    JOIN paragraphs one ON one.n = n1 JOIN paragraphs two ON two.n = n2 JOIN paragraphs three ON three.n = n3;
ALTER TABLE articles ADD PRIMARY KEY (id);
CREATE TABLE events (id bigint, account bigint, body jsonb);
INSERT INTO events SELECT e, (random() * ACCOUNTS)::bigint, jsonb_build_object(
        'at', '2024-01-01'::timestamptz + e * interval '1 second', 'ms', (random() * 1000)::integer,
        'action', (ARRAY['view', 'search', 'add_to_cart', 'checkout', 'login'])[1 + (random() * 4)::integer],
        'path', '/products/' || (random() ^ 3 * 20000)::integer, 'session', md5((e / 7)::text),
        'agent', (ARRAY['Mozilla/5.0 (X11; Linux x86_64)', 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0)',
            'Mozilla/5.0 (Windows NT 10.0; Win64; x64)', 'curl/8.5.0'])[1 + (random() * 3)::integer],
        'ip', '10.' || (random() * 255)::integer || '.' || (random() * 255)::integer || '.7')
    FROM generate_series(1, ACCOUNTS / 6) AS e;
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE INDEX ON events (account);
ANALYZE accounts, articles, events;
